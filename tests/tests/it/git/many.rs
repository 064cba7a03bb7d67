//! Many changes.

use std::time::Instant;

use super::Place;

#[tokio::test]
async fn thousands_of_changes_take_a_handful_of_programs() {
    let place = Place::new().await;
    let script = "
        init; for i in $(seq 0 49); do mkdir d$i; done
        all() { for i in $(seq $1 $2); do $3 d$((i % 50))/$i; done; }
        old() { echo old > $1; }; new() { echo new > $1; }
        all 1 5000 old; commit
        git switch -qc topic; write one; commit
        all 1 2000 new; all 2001 3000 rm; all 5001 7000 old";
    place.script("r", script).await;
    for git in [place.image(), place.host()] {
        for reference in [None, Some("HEAD"), Some("main")] {
            let before = Instant::now();
            let changes = git.changes("r", reference).await.unwrap();
            eprintln!("{:?} {:?}", git.which().await.unwrap(), before.elapsed());
            assert_eq!(
                changes.len(),
                if reference == Some("HEAD") {
                    5000
                } else {
                    5001
                }
            );
        }
        let before = Instant::now();
        git.diff("r/d1/1", None).await.unwrap();
        eprintln!("a diff {:?}", before.elapsed());
    }
    place.finish().await;
}
