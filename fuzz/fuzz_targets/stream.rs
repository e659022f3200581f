//! Any bytes as a list of endpoints and as a stream: nothing panics, where the
//! stream is cut makes no difference, and the short way through a line finds what
//! the long one finds.

#![no_main]

use engine::{Access, Change, Envelope, Info, Mode, Monitor, Rejection, Replay, ServiceMonitor};
use libfuzzer_sys::fuzz_target;

const INFO: &[u8] = br#"[{"name": "svc", "verb": "GET", "resource": "/a", "slo": 0.9, "window": 1},
                         {"name": "svc", "verb": "GET", "resource": "/\"'\\", "slo": 0.5, "window": 2.5}]"#;

fuzz_target!(|bytes: &[u8]| {
    let _ = Info::parse(bytes);
    let info = Info::parse(INFO).expect("the list is right");

    let mut whole = Replay::new(&info, Mode::Lenient);
    let _ = whole.feed(bytes);
    let mut pieces = Replay::new(&info, Mode::Lenient);
    for piece in bytes.chunks(7) {
        let _ = pieces.feed(piece);
    }
    assert_eq!(whole.finish(), pieces.finish());

    let (mut short, mut long) = (Monitor::new(&info), Monitor::new(&info));
    for line in bytes.split(|byte| *byte == b'\n') {
        assert_eq!(short.line(line), slowly(&mut long, line));
    }
    assert_eq!(short.incidents(), long.incidents());
});

fn slowly(monitor: &mut Monitor, line: &[u8]) -> Result<bool, Rejection> {
    match Envelope::parse(line)? {
        None => Ok(true),
        Some(Envelope::EndOfStream) => Ok(false),
        Some(Envelope::Access(value)) => monitor.access(&Access::parse(&value)?).map(|()| true),
        Some(Envelope::Change(value)) => monitor.change(&Change::parse(&value)?).map(|()| true),
    }
}
