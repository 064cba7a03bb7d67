//! Making groups, finding them, and what is told of them.

use super::*;

#[test]
fn who_may_make_no_group_is_told_so() {
    let current = Cgroup::current().unwrap();
    let delegation = current.delegation().unwrap();
    let created = current.create("apptainer-rs-refused", &[]);
    match created {
        Ok(group) => {
            group.remove().unwrap();
            assert!(delegation.unified || !delegation.controllers.is_empty());
        }
        Err(error) => {
            assert!(!is_root() && !delegation.unified, "{error}");
            assert!(matches!(error, CgroupError::NotDelegated { .. }), "{error}");
            assert!(error.to_string().contains("Delegate=yes"), "{error}");
        }
    }
}

#[test]
fn names_are_those_of_files() {
    let current = Cgroup::current().unwrap();
    for name in ["", ".", "..", "a/b", "cgroup.procs"] {
        let error = current.create(name, &[]).unwrap_err();
        assert!(matches!(error, CgroupError::InvalidName { .. }), "{error}");
    }
}

#[test]
fn a_group_that_is_there_is_left_alone() {
    let Some(group) = Group::new("there") else {
        return;
    };
    let current = Group::parent();
    let name = folders(&group)[0].file_name().unwrap();
    let name = name.to_str().unwrap().to_owned();
    let error = current.create(&name, CONTROLLERS).unwrap_err();
    assert!(
        matches!(error, CgroupError::AlreadyExists { .. }),
        "{error}"
    );
    let child = group.shell("echo; sleep 60");
    // It can be found again, from above and from below.
    assert!(current.children().unwrap().contains(&name));
    let found = current.child(&name).unwrap();
    assert_eq!(found.processes().unwrap(), group.processes().unwrap());
    assert_eq!(folders(&group.parent().unwrap())[0], folders(&current)[0]);
    assert_eq!(current.child("apptainer-rs-nothing"), None);
    // What has processes is not removed, nor is anything below it.
    let below = group.create("below", &[]).unwrap();
    assert!(group.remove().is_err());
    assert_eq!(group.child("below"), Some(below));
    assert_eq!(group.processes().unwrap()[0], child.pid());
    end(&group, child);
}

#[test]
fn that_it_fills_and_empties_is_told() {
    let Some(group) = Group::new("events") else {
        return;
    };
    if group.unified().is_none() {
        return;
    }
    let mut events = group.events().unwrap();
    assert_eq!(events.try_next().unwrap(), None);
    let child = group.shell("echo; sleep 60");
    let next = |events: &mut apptainer::sys::cgroup::Events| events.next(Some(LIMIT)).unwrap();
    assert_eq!(next(&mut events), Some(Event::Populated(true)));
    group.freeze(LIMIT).unwrap();
    assert_eq!(next(&mut events), Some(Event::Frozen(true)));
    group.thaw().unwrap();
    assert_eq!(next(&mut events), Some(Event::Frozen(false)));
    end(&group, child);
    assert_eq!(next(&mut events), Some(Event::Populated(false)));
    let short = Some(Duration::from_millis(20));
    assert_eq!(events.next(short).unwrap(), None);
}
