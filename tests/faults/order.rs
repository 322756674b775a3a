//! The order of system calls that the first promise rests on, seen once: written, synced, answered.

use crate::fixtures::message;
use crate::service::Service;
use crate::tracer::{Tracer, can_trace};

#[test]
fn a_message_is_written_then_synced_then_acknowledged() {
    if !can_trace() {
        return;
    }
    let service = Service::start();
    // The first message after a start also makes things ready; the second shows the rule.
    service.store(&message("m1"));
    let calls = "trace=pwrite64,pwritev,write,writev,sendto,sendmsg,fdatasync,fsync";
    let tracer = Tracer::attach(&service, None, &["-e", calls]);
    service.store(&message("m2"));
    let seen = tracer.detach();

    let of = |name: &str, line: &str| line.starts_with(&format!("{name}(")) && line.contains("app.db-wal>");
    let written = seen.iter().rposition(|line| of("pwrite64", line)).expect("the log was written");
    let sync = seen.iter().rposition(|line| of("fdatasync", line) || of("fsync", line));
    let sync = sync.expect("the log was synced");
    // A call during which another thread is heard takes two lines, and has returned with the second.
    let synced = if seen[sync].contains("<unfinished") {
        let returned = |line: &String| line.contains("sync resumed>");
        sync + seen[sync..].iter().position(returned).expect("the sync has returned")
    } else {
        sync
    };
    assert!(seen[synced].ends_with("= 0"), "{seen:#?}");
    let answers: Vec<_> = (0..seen.len()).filter(|at| seen[*at].contains("HTTP/1.1 200")).collect();
    assert!(answers.len() == 1, "one answer was sent: {seen:#?}");
    assert!(written < sync && synced < answers[0], "{seen:#?}");
}
