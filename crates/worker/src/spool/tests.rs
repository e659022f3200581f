use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use common::{Cause, Outcome, Phases, Slot, TargetId};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn settings(directory: &TempDir, max: usize) -> SpoolSettings {
    SpoolSettings { directory: directory.path().join("spool"), max }
}

/// Result number `n`, every seventh with a detail of some length.
fn result(n: usize) -> (KeyHash, Check) {
    let n_i64 = n as i64;
    let failed = n % 7 == 3;
    let check = Check {
        target_id: TargetId(n as i32 % 50),
        slot: Slot(n_i64 * 1_000),
        started_us: (!n.is_multiple_of(5)).then_some(n_i64 * 1_000 + 17),
        outcome: if failed { Outcome::Down(Cause::Assertion) } else { Outcome::Up },
        code: Some(200),
        elapsed_us: Some(n as u32),
        phases: Phases { dns_us: None, connect_us: Some(4), first_byte_us: Some(0) },
        detail: failed.then(|| Arc::from("é saw this".repeat(1 + n % 12))),
    };
    (KeyHash(n as u64 % 50), check)
}

fn stored((key, check): (KeyHash, Check)) -> Stored {
    Stored { key, check: Check { target_id: TargetId(0), ..check } }
}

/// Everything there is, taken out.
fn drain(spool: &mut Spool) -> (Vec<Stored>, usize) {
    let (mut results, mut bad) = (Vec::new(), 0);
    while let Some(batch) = spool.next(37).unwrap() {
        spool.done(&batch);
        bad += batch.bad;
        results.extend(batch.results);
    }
    assert_eq!(spool.depth(), 0);
    (results, bad)
}

fn append(spool: &mut Spool, range: std::ops::Range<usize>) -> Appended {
    let appended = spool.append(&range.map(result).collect::<Vec<_>>());
    assert!(appended.error.is_none(), "{:?}", appended.error);
    appended
}

/// The files of results in all folders.
fn all_files(directory: &TempDir) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(directory.path().join("spool")).unwrap();
    folders.flat_map(|folder| files(&folder.unwrap().path()).unwrap()).collect()
}

#[test]
fn what_goes_in_comes_out_in_order_and_leaves_nothing_behind() {
    let directory = TempDir::new().unwrap();
    let mut spool = Spool::open(settings(&directory, 1_000), "w").unwrap();
    assert!(spool.next(10).unwrap().is_none());
    append(&mut spool, 0..300);
    assert_eq!((spool.depth(), spool.oldest_us()), (300, Some(0)));
    let first = spool.next(10).unwrap().unwrap();
    // Until it is told, the same comes again.
    assert_eq!(spool.next(10).unwrap().unwrap().results, first.results);
    append(&mut spool, 300..400);
    let (results, bad) = drain(&mut spool);
    assert_eq!((results, bad), ((0..400).map(|n| stored(result(n))).collect(), 0));
    assert_eq!((all_files(&directory), spool.oldest_us()), (vec![], None));
    append(&mut spool, 400..401);
    assert_eq!(drain(&mut spool).0, [stored(result(400))]);
}

#[test]
fn beyond_its_bound_the_oldest_go_and_are_told() {
    let directory = TempDir::new().unwrap();
    let mut spool = Spool::open(settings(&directory, 400), "w").unwrap();
    let mut dropped = Vec::new();
    for n in 0..40 {
        dropped.extend(append(&mut spool, n * 50..(n + 1) * 50).dropped);
    }
    assert!(spool.depth() > 200 && dropped.len() + spool.depth() == 2_000, "{} on disk", spool.depth());
    let bytes: u64 = all_files(&directory).iter().map(|path| path.metadata().unwrap().len()).sum();
    // Give or take what an assertion saw.
    assert!(bytes <= 410 * 64, "{bytes}");
    dropped.extend(drain(&mut spool).0);
    assert_eq!(dropped, (0..2_000).map(|n| stored(result(n))).collect::<Vec<_>>());
}

#[test]
fn what_a_dead_process_left_is_read_by_the_next_and_what_the_living_have_is_not() {
    let directory = TempDir::new().unwrap();
    let mut first = Spool::open(settings(&directory, 1_000), "w").unwrap();
    let mut second = Spool::open(settings(&directory, 1_000), "w").unwrap();
    append(&mut first, 0..30);
    append(&mut second, 30..60);
    let mut third = Spool::open(settings(&directory, 1_000), "w").unwrap();
    assert_eq!((third.depth(), third.take_over_orphans()), (0, 0));
    drop(second);
    assert_eq!((third.take_over_orphans(), third.take_over_orphans()), (30, 0));
    append(&mut third, 60..90);
    drop(first);
    assert_eq!(third.take_over_orphans(), 30);
    // The oldest first, whoever wrote them; and they are nobody's slots to wait for.
    assert_eq!(third.oldest_us(), Some(60_000));
    assert_eq!(drain(&mut third).0, (0..90).map(|n| stored(result(n))).collect::<Vec<_>>());
}

#[test]
fn the_free_lock_of_a_worker_says_that_it_is_dead_until_that_is_forgotten() {
    let directory = TempDir::new().unwrap();
    let none: [&str; 0] = [];
    let open = |name| Spool::open(settings(&directory, 100), name).unwrap();
    let (mut first, second) = (open("first"), open("second"));
    let mut third = open("a-longer-name-than-theirs");
    third.take_over_orphans();
    assert_eq!((first.ended(), third.ended()), (&[][..], &[][..]));
    drop(second);
    third.take_over_orphans();
    assert_eq!(third.ended(), ["second"]);
    first.take_over_orphans();
    assert_eq!(first.ended(), none, "once is enough");

    // The next one of a folder knows whose it was, and of whom that one had not told.
    drop((first, third));
    assert_eq!(open("fourth").ended(), ["a-longer-name-than-theirs", "second", "first"]);
    let mut fifth = open("fifth");
    assert_eq!(fifth.ended(), ["fourth", "a-longer-name-than-theirs", "second", "first"]);
    fifth.forget(&["first", "nobody", "second"].map(str::to_owned));
    assert_eq!(fifth.ended(), ["fourth", "a-longer-name-than-theirs"]);
    drop(fifth);
    // Nobody takes itself for dead.
    assert_eq!(open("fifth").ended(), ["fourth", "a-longer-name-than-theirs"]);
}

#[test]
fn a_lock_that_is_given_up_again_has_not_the_name_of_one_who_lives() {
    let directory = TempDir::new().unwrap();
    let mut second = {
        let _first = Spool::open(settings(&directory, 100), "first").unwrap();
        Spool::open(settings(&directory, 100), "second").unwrap()
    };
    let folder = directory.path().join("spool/0");
    // May be entered and not read.
    permit(&folder, 0o300);
    assert!(Spool::open(settings(&directory, 100), "third").is_err());
    permit(&folder, 0o700);
    second.take_over_orphans();
    assert_eq!(second.ended(), ["first"]);
}

#[test]
fn whatever_is_in_a_lock_it_opens() {
    let directory = TempDir::new().unwrap();
    drop(Spool::open(settings(&directory, 100), "w").unwrap());
    let lock = directory.path().join("spool/0/lock");
    let open = |content: &[u8]| {
        std::fs::write(&lock, content).unwrap();
        Spool::open(settings(&directory, 100), "w").unwrap().ended().to_vec()
    };
    // Older releases leave one without a name.
    assert_eq!(open(b""), [""; 0]);
    assert_eq!(open(b"one\n\ntwo-without-an-end"), ["one", "two-without-an-end"]);
    assert_eq!(open(b"\xff\n one\nt\0wo\n\xc3\xa9\nthree\r\n"), [""; 0]);
    assert_eq!(open(&[b'x'; 500_000]), [""; 0]);
    assert_eq!(open(&b"x\n".repeat(100_000)).len(), MOST_ENDED);
}

#[test]
fn a_batch_that_was_dropped_meanwhile_takes_nothing_else_along() {
    let directory = TempDir::new().unwrap();
    let mut spool = Spool::open(settings(&directory, 80), "w").unwrap();
    append(&mut spool, 0..40);
    let batch = spool.next(5).unwrap().unwrap();
    append(&mut spool, 40..120);
    spool.done(&batch);
    let left = drain(&mut spool).0;
    assert_eq!(left.last(), Some(&stored(result(119))));
    assert!(left.len() >= 40, "{}", left.len());
}

#[test]
fn only_we_may_read_it_and_no_key_is_in_it() {
    let directory = TempDir::new().unwrap();
    let mut spool = Spool::open(settings(&directory, 80), "w").unwrap();
    let key = "https://example.org/?token=canary-secret";
    assert_eq!(spool.append(&[(KeyHash::of(key), result(1).1)]).count, 1);
    let [file] = &all_files(&directory)[..] else { panic!("one file") };
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(directory.path().join("spool").metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let bytes = std::fs::read(file).unwrap();
    assert!(!bytes.windows(6).any(|bytes| b"canary-secret example.org".windows(6).any(|part| part == bytes)));
}

#[test]
fn a_private_postgres_may_be_put_beside_it() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let settings = SpoolSettings { directory: data.join("spool"), ..settings(&directory, 80) };
    Spool::open(settings, "w").unwrap();
    // As root the server is another user's.
    let passable = if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 };
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!([mode(&data), mode(&data.join("spool")), mode(&data.join("spool/0"))], [passable, 0o700, 0o700]);
}

#[test]
fn a_directory_that_cannot_be_is_an_error_and_no_panic() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("spool"), "a file").unwrap();
    assert!(Spool::open(settings(&directory, 10), "w").is_err());
}

/// What may be done with a folder, without root's power over that.
fn permit(folder: &Path, mode: u32) {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
        // Of this thread alone.
        let mut ours = capabilities(None).unwrap();
        ours.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
        set_capabilities(None, ours).unwrap();
    }
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_folder_that_turns_read_only_gives_what_it_has_and_takes_again_what_it_can_later() {
    let directory = TempDir::new().unwrap();
    let mut spool = Spool::open(settings(&directory, 800), "w").unwrap();
    append(&mut spool, 0..50);
    permit(&directory.path().join("spool/0"), 0o500);
    let new: Vec<_> = (50..250).map(result).collect();
    let refused = spool.append(&new);
    // The file that is open takes some, the next one cannot be begun.
    assert_eq!(refused.error.map(|error| error.kind()), Some(io::ErrorKind::PermissionDenied));
    assert!((1..100).contains(&refused.count) && refused.dropped.is_empty(), "{}", refused.count);
    assert_eq!(spool.append(&new[refused.count..]).count, 0);
    let on_disk: Vec<_> = (0..50 + refused.count).map(|n| stored(result(n))).collect();
    assert_eq!(drain(&mut spool), (on_disk.clone(), 0));
    // It could not be deleted.
    assert_eq!(all_files(&directory).len(), 1);

    permit(&directory.path().join("spool/0"), 0o700);
    append(&mut spool, 50 + refused.count..250);
    assert_eq!(spool.depth(), 200 - refused.count);
    drop(spool);
    // The next one writes those of before again, and first.
    let again: Vec<_> = (0..250).map(|n| stored(result(n))).collect();
    assert_eq!(drain(&mut Spool::open(settings(&directory, 800), "w").unwrap()), (again, 0));
}

#[test]
fn a_full_spool_gives_up_nothing_that_it_cannot_delete() {
    let directory = TempDir::new().unwrap();
    let mut spool = Spool::open(settings(&directory, 400), "w").unwrap();
    append(&mut spool, 0..300);
    let (depth, folder) = (spool.depth(), directory.path().join("spool/0"));
    permit(&folder, 0o500);
    let new: Vec<_> = (300..340).map(result).collect();
    for _ in 0..3 {
        let refused = spool.append(&new);
        assert!(refused.error.is_some());
        assert_eq!((refused.count, refused.dropped.len(), refused.dropped_bad, spool.depth()), (0, 0, 0, depth));
    }
    permit(&folder, 0o700);
    let dropped = append(&mut spool, 300..340).dropped;
    let all = [dropped, drain(&mut spool).0].concat();
    assert_eq!(all, (0..340).map(|n| stored(result(n))).collect::<Vec<_>>());
}

#[test]
fn what_is_in_a_read_only_directory_waits_there_until_it_can_be_written() {
    let directory = TempDir::new().unwrap();
    append(&mut Spool::open(settings(&directory, 800), "w").unwrap(), 0..250);
    let folder = directory.path().join("spool/0");
    std::fs::remove_file(folder.join("lock")).unwrap();
    permit(&folder, 0o500);
    let refused = Spool::open(settings(&directory, 800), "w").unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    permit(&folder, 0o700);
    let all: Vec<_> = (0..250).map(|n| stored(result(n))).collect();
    assert_eq!(drain(&mut Spool::open(settings(&directory, 800), "w").unwrap()), (all, 0));
}

#[test]
fn a_file_that_is_gone_is_given_up_after_a_while_and_the_rest_goes_on() {
    let directory = TempDir::new().unwrap();
    let mut spool = Spool::open(settings(&directory, 800), "w").unwrap();
    append(&mut spool, 0..250);
    let files = all_files(&directory);
    std::fs::remove_file(&files[0]).unwrap();
    let batch = loop {
        if let Ok(batch) = spool.next(10) {
            break batch.unwrap();
        }
    };
    assert!(batch.results.is_empty() && batch.bad > 0);
    assert_eq!(batch.suspect.map(|(first, _)| first), Some(0));
    spool.done(&batch);
    assert_eq!(drain(&mut spool).0.len() + batch.bad, 250);
}

#[derive(Debug, Clone)]
enum Harm {
    Flip { byte: prop::sample::Index, bit: u8 },
    Truncate { to: prop::sample::Index },
    Zero { from: prop::sample::Index, len: u8 },
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        3 => (any::<prop::sample::Index>(), 0u8..8).prop_map(|(byte, bit)| Harm::Flip { byte, bit }),
        1 => any::<prop::sample::Index>().prop_map(|to| Harm::Truncate { to }),
        1 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(from, len)| Harm::Zero { from, len }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_to_bytes_the_other_results_come_out_as_they_were(
        count in 1usize..200,
        harms in prop::collection::vec((any::<prop::sample::Index>(), harm()), 0..6),
        by_another in any::<bool>(),
    ) {
        let directory = TempDir::new().unwrap();
        let mut spool = Spool::open(settings(&directory, 400), "w").unwrap();
        append(&mut spool, 0..count);
        let files = all_files(&directory);
        // Cells that are hit, by file.
        let mut hit: Vec<Vec<bool>> = Vec::new();
        let mut contents: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
        let whole = contents.clone();
        for (file, harm) in &harms {
            let bytes = &mut contents[file.index(files.len())];
            if bytes.is_empty() {
                continue;
            }
            match harm {
                Harm::Flip { byte, bit } => {
                    let at = byte.index(bytes.len());
                    bytes[at] ^= 1 << bit;
                }
                Harm::Truncate { to } => bytes.truncate(to.index(bytes.len())),
                Harm::Zero { from, len } => {
                    let from = from.index(bytes.len());
                    let to = (from + usize::from(*len)).min(bytes.len());
                    bytes[from..to].fill(0);
                }
            }
        }
        for ((file, bytes), whole) in files.iter().zip(&contents).zip(&whole) {
            std::fs::write(file, bytes).unwrap();
            // Ours are read with nothings at the end of a file that has become shorter; of others, whole ones.
            let mut seen = bytes.clone();
            seen.resize(if by_another { bytes.len() / 64 * 64 } else { whole.len() }, 0);
            let cells = whole.chunks(64).enumerate();
            hit.push(cells.map(|(n, cell)| seen.get(n * 64..(n + 1) * 64) != Some(cell)).collect());
        }
        if by_another {
            drop(spool);
            spool = Spool::open(settings(&directory, 400), "w").unwrap();
        }

        // The results whose first cell is as it was, in order; details may be shorter where theirs is not.
        let mut expected = Vec::new();
        let mut lost = 0;
        let mut cells = hit.iter().flatten();
        for n in 0..count {
            let (key, check) = result(n);
            let is_hit = *cells.next().unwrap();
            let details = check.detail.as_deref().map_or(0, |text| text.len().div_ceil(53));
            let detail_hit = (0..details).filter(|_| *cells.next().unwrap()).count() > 0;
            if is_hit {
                lost += 1;
            } else {
                expected.push((stored((key, check)), detail_hit));
            }
        }
        let (found, bad) = drain(&mut spool);
        prop_assert_eq!(found.len(), expected.len());
        for (found, (expected, detail_hit)) in found.iter().zip(&expected) {
            if *detail_hit {
                let without = |stored: &Stored| Check { detail: None, ..stored.check.clone() };
                prop_assert_eq!(without(found), without(expected));
            } else {
                prop_assert_eq!(found, expected);
            }
        }
        // A tail that is missing for the next process cannot be counted by it.
        if !by_another {
            prop_assert!(bad >= lost, "{} lost and {} counted", lost, bad);
        }
    }
}
