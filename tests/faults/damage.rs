//! A database whose content is damaged: refused at the start without a touch, refused in words while it runs.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use crate::fixtures::{eventually, message, message_with};
use crate::load::{is_sound, turns_ready};
use crate::service::Service;
use crate::setup::Setup;

const PAGE: usize = 4096;

type Damage = fn(&mut Vec<u8>);

/// A service that has stored some hundred kilobytes, stopped in order: all of it is in the file.
fn filled() -> Setup {
    let service = Service::start();
    let text = "Hello ".repeat(400);
    for number in 0..100 {
        service.store(&message_with(&format!("m{number:03}"), &serde_json::json!({ "text": text })));
    }
    service.stop()
}

fn overwrite(setup: &std::path::Path, at: usize, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(setup).expect("the file is ours");
    file.write_all_at(bytes, at as u64).expect("the file is ours");
}

#[test]
fn a_damaged_file_is_refused_at_the_start_and_untouched() {
    let whole = fs::read(filled().path("app.db")).unwrap();
    let damages: [(&str, Damage); 5] = [
        ("its header is gone", |file| file[..100].fill(0)),
        ("its page size is absurd", |file| file[16..18].fill(0xff)),
        ("its schema is rubbish", |file| file[100..PAGE].fill(0xff)),
        ("its end is missing", |file| file.truncate(file.len() / 2)),
        ("only its first page is there", |file| file.truncate(PAGE)),
    ];
    for (damage, apply) in damages {
        let mut file = whole.clone();
        apply(&mut file);
        let mut setup = Setup::new();
        setup.file("app.db", &file);
        let address = format!("127.0.0.1:{}", crate::setup::free_port());
        setup.variables.insert("LISTEN_ADDR".to_owned(), address);
        let finished = setup.run(&[]);
        assert!(matches!(finished.code, Some(69 | 78)), "{damage}: {finished:?}");
        assert_eq!(finished.stderr.lines().count(), 1, "{damage}: {finished:?}");
        assert!(finished.stderr.contains("app.db"), "{damage}: {finished:?}");
        assert!(fs::read(setup.path("app.db")).unwrap() == file, "{damage}: the file was changed");
    }
}

#[test]
fn a_damaged_file_of_an_earlier_implementation_is_refused_and_untouched() {
    let old = Setup::new();
    let statements = "CREATE TABLE messages (message_id TEXT PRIMARY KEY, from_msisdn TEXT NOT NULL,
            to_msisdn TEXT NOT NULL, ts TEXT NOT NULL, text TEXT, created_at TEXT NOT NULL);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
        INSERT INTO messages SELECT 'm' || i, '+1', '+2', '2025-01-15T10:00:00Z', 'text', 'now' FROM n;";
    old.database().execute_batch(statements).unwrap();
    let mut file = fs::read(old.path("app.db")).unwrap();
    // The pages in the middle hold rows: the damage shows when they are read to be indexed.
    let pages = file.len() / PAGE;
    file[pages / 3 * PAGE..pages / 2 * PAGE].fill(0xff);
    let mut setup = Setup::new();
    setup.file("app.db", &file);
    setup.is_refused(69, &["app.db", "damaged"]);
    assert!(fs::read(setup.path("app.db")).unwrap() == file, "the file was changed");
}

/// Damages a file that has just been opened, and puts it right again.
fn is_damaged_for_a_while(damage: impl FnOnce(&std::path::Path)) {
    let service = filled().start();
    let path = service.path("app.db");
    let whole = fs::read(&path).expect("the file is ours");
    damage(&path);
    // The service may go on from what it holds in memory, or say what is wrong; it may not fall silent.
    for number in 0..20 {
        let answer = service.post(&message(&format!("during {number}")));
        assert!(answer.status == 200 || answer.status == 503, "{}", answer.text());
        for target in ["/messages", "/messages?q=hello", "/stats", "/health/ready"] {
            let status = service.get(target).status;
            assert!(status == 200 || status == 503, "{target}: {status}");
        }
    }
    let queries = ["/messages", "/messages?q=hello", "/stats", "/health/ready"];
    let told = queries.into_iter().filter(|target| service.get(target).status == 503).count();
    assert!(told > 0, "nobody was told that the file is damaged");
    is_sound(&service);
    fs::write(&path, &whole).expect("the file is ours");
    turns_ready(&service);
    eventually("the message is taken", || (service.post(&message("after")).status == 200).then_some(()));
    is_sound(&service);
}

#[test]
fn a_file_overwritten_with_rubbish_while_it_is_used_is_reported() {
    is_damaged_for_a_while(|path| {
        let size = usize::try_from(fs::metadata(path).unwrap().len()).unwrap();
        overwrite(path, PAGE, &vec![0xff; size - PAGE]);
    });
}

#[test]
fn a_file_overwritten_from_its_first_byte_while_it_is_used_is_reported() {
    is_damaged_for_a_while(|path| {
        let size = usize::try_from(fs::metadata(path).unwrap().len()).unwrap();
        overwrite(path, 0, &vec![0xff; size]);
    });
}

#[test]
fn a_file_cut_to_nothing_while_it_is_used_is_reported() {
    is_damaged_for_a_while(|path| {
        OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
    });
}

#[test]
fn a_log_overwritten_with_rubbish_while_it_is_used_harms_nothing_else() {
    let service = Service::start();
    for number in 0..20 {
        service.store(&message(&format!("m{number}")));
    }
    let log = service.path("app.db-wal");
    let size = usize::try_from(fs::metadata(&log).unwrap().len()).unwrap();
    overwrite(&log, 32, &vec![0xff; size - 32]);
    for number in 0..20 {
        let status = service.post(&message(&format!("during {number}"))).status;
        assert!(status == 200 || status == 503);
        let status = service.get("/messages").status;
        assert!(status == 200 || status == 503);
    }
    is_sound(&service);
    service.stop();
}
