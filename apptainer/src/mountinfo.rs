//! Reads `/proc/PID/mountinfo`, proc(5).

/// What is mounted somewhere.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount<'a> {
    /// Which file system, as in `0:42`.
    pub(crate) device: &'a str,
    /// Its kind, as in `nfs4`.
    pub(crate) kind: &'a str,
    /// Of the mount, and of the file system.
    options: [&'a str; 2],
}

impl<'a> Mount<'a> {
    /// The one with this id, which no two have.
    pub(crate) fn find(mounts: &'a [u8], id: u64) -> Option<Self> {
        all(mounts).find_map(|(found, mount)| (found == id).then_some(mount))
    }

    /// What these are all of.
    pub(crate) fn all(mounts: &'a [u8]) -> impl Iterator<Item = Self> {
        all(mounts).map(|(_, mount)| mount)
    }

    pub(crate) fn has(&self, option: &str) -> bool {
        let mut all = self.options.iter().flat_map(|some| some.split(','));
        all.any(|found| found == option)
    }
}

fn all(mounts: &[u8]) -> impl Iterator<Item = (u64, Mount<'_>)> {
    // Paths are bytes of any kind, so that it is text in its lines only, if at all.
    mounts.split(|byte| *byte == b'\n').filter_map(parse)
}

fn parse(line: &[u8]) -> Option<(u64, Mount<'_>)> {
    let fields: Vec<_> = line.split(|byte| *byte == b' ').collect();
    let text = |index: usize| std::str::from_utf8(fields.get(index)?).ok();
    // Optional fields end with a dash.
    let dash = fields.iter().position(|field| *field == b"-")?;
    let mount = Mount {
        device: text(2)?,
        kind: text(dash + 1)?,
        options: [text(5)?, text(dash + 3)?],
    };
    Some((text(0)?.parse().ok()?, mount))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard\n\
        28 27 0:40 / /home\xff\\040x rw,nosuid - nfs4 server:/home rw,vers=4.2,local_lock=none\n\
        not a mount\n";

    #[test]
    fn a_mount_is_found_by_its_id() {
        let mount = Mount::find(MOUNTS, 28).unwrap();
        assert_eq!(mount.kind, "nfs4");
        assert!(mount.has("nosuid") && mount.has("local_lock=none"));
        assert!(!mount.has("local_lock") && !mount.has("lock=none"));
        assert_eq!(Mount::find(MOUNTS, 27).unwrap().kind, "ext4");
        let devices: Vec<_> = Mount::all(MOUNTS).map(|mount| mount.device).collect();
        assert_eq!(devices, ["0:21", "254:0", "0:40"]);
        assert_eq!(Mount::find(MOUNTS, 1), None);
        assert_eq!(Mount::find(b"", 28), None);
    }
}
