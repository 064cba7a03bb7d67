//! Variables for a program.

use std::ffi::OsString;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// Variables in the order set. `Debug` shows their names: their values may be keys.
#[derive(Clone)]
pub(crate) struct Variables<V = OsString>(Vec<(OsString, V)>);

impl<V> Default for Variables<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Deref for Variables<V> {
    type Target = Vec<(OsString, V)>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<V> DerefMut for Variables<V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<V> FromIterator<(OsString, V)> for Variables<V> {
    fn from_iter<I: IntoIterator<Item = (OsString, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl<V> IntoIterator for Variables<V> {
    type Item = (OsString, V);
    type IntoIter = std::vec::IntoIter<(OsString, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, V> IntoIterator for &'a Variables<V> {
    type Item = &'a (OsString, V);
    type IntoIter = std::slice::Iter<'a, (OsString, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<V> fmt::Debug for Variables<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Variables;

    #[test]
    fn names_are_shown_and_values_are_not() {
        let variables = Variables::from_iter([("TOKEN".into(), Some("hunter2"))]);
        assert_eq!(format!("{variables:?}"), r#"{"TOKEN"}"#);
    }
}
