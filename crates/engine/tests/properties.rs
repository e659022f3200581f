//! What holds for every stream: the engine agrees with a model that starts from
//! nothing at every event, and neither cutting nor restarting changes anything.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use engine::{
    Access, Change, ChangeId, EndpointId, Engine, Envelope, Event, Info, Mode, Monitor, Nanos, Objective, Rejection,
    Replay, ServiceId, ServiceMonitor, Transition, Window,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// An event by numbers: endpoint, time and success, or service and change.
#[derive(Debug, Clone, Copy)]
enum Step {
    Access(usize, u64, bool),
    Change(usize, i64),
}

/// The service, objective in billionths and window of an endpoint.
type Goal = (usize, u32, u64);

const SERVICES: usize = 2;

fn objectives() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(0u32),
        Just(1_000_000_000),
        Just(500_000_000),
        Just(900_000_000),
        Just(333_333_333),
        Just(333_333_334),
        0..=1_000_000_000u32,
    ]
}

fn goals() -> impl Strategy<Value = Vec<Goal>> {
    vec((0..SERVICES, objectives(), 1..12u64), 1..4)
}

/// Times from a few moments only, so that many are equal, late or at an edge.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let access = (0..4usize, 0..4u64, any::<bool>(), any::<bool>());
    let step = prop_oneof![9 => access.prop_map(Some), 1 => Just(None)];
    vec((step, 0..SERVICES, 0..12u64), 0..120).prop_map(|raw| {
        let mut now = 20;
        let mut steps = Vec::new();
        for (number, (step, service, back)) in raw.into_iter().enumerate() {
            steps.push(match step {
                Some((endpoint, forward, is_late, ok)) => {
                    now += forward;
                    Step::Access(endpoint, if is_late { now - back } else { now }, ok)
                }
                None => Step::Change(service, number as i64),
            });
        }
        steps
    })
}

struct Run {
    engine: Engine,
    endpoints: Vec<EndpointId>,
    services: Vec<ServiceId>,
}

impl Run {
    fn new(goals: &[Goal]) -> Self {
        let mut engine = Engine::new();
        let services: Vec<_> = (0..SERVICES).map(|_| engine.add_service()).collect();
        let endpoints = goals
            .iter()
            .map(|&(service, objective, window)| {
                let objective = Objective::from_billionths(objective).unwrap();
                engine.add_endpoint(services[service], objective, Window::from_nanos(window).unwrap())
            })
            .collect();
        Self { engine, endpoints, services }
    }

    fn step(&mut self, step: Step) -> Option<Transition> {
        self.engine.apply(match step {
            Step::Access(endpoint, at, ok) => {
                let endpoint = self.endpoints[endpoint % self.endpoints.len()];
                Event::Access { endpoint, at: Nanos::new(at).unwrap(), ok }
            }
            Step::Change(service, change) => {
                Event::Change { service: self.services[service], change: ChangeId(change) }
            }
        })
    }

    /// Another engine with the same state, by way of all that can be read out.
    fn restarted(&self, goals: &[Goal]) -> Self {
        let mut other = Self::new(goals);
        for &service in &self.services {
            other.engine.recall_change(service, self.engine.newest_change(service));
        }
        for &endpoint in &self.endpoints {
            let mut snapshot = self.engine.snapshot(endpoint);
            // The order of rows in a table is nobody's promise.
            snapshot.requests.reverse();
            other.engine.restore(endpoint, &snapshot);
        }
        other
    }

    /// Another engine that is shown every event again up to here, unjudged.
    fn reloaded(&self, goals: &[Goal], seen: &[Step]) -> Self {
        let mut other = Self::new(goals);
        for step in seen {
            match *step {
                Step::Access(endpoint, at, ok) => {
                    let endpoint = other.endpoints[endpoint % goals.len()];
                    other.engine.recall(endpoint, Nanos::new(at).unwrap(), ok);
                }
                Step::Change(service, change) => {
                    other.engine.recall_change(other.services[service], Some(ChangeId(change)));
                }
            }
        }
        for &endpoint in &self.endpoints {
            other.engine.recall_incident(endpoint, self.engine.open_incident(endpoint));
        }
        other
    }
}

/// What the rules say, as slowly as possible: from the whole list of requests, at each event.
fn model(goals: &[Goal], steps: &[Step]) -> Vec<(usize, u64, bool, Option<i64>, u64, u64)> {
    let mut transitions = Vec::new();
    let mut open = vec![false; goals.len()];
    for (end, step) in steps.iter().enumerate() {
        let &Step::Access(endpoint, ..) = step else {
            continue;
        };
        let endpoint = endpoint % goals.len();
        let (service, objective, window) = goals[endpoint];
        let requests = || {
            steps[..=end].iter().filter_map(|step| match *step {
                Step::Access(other, at, ok) if other % goals.len() == endpoint => Some((at, ok)),
                _ => None,
            })
        };
        let clock = requests().map(|(at, _)| at).max().unwrap();
        let inside = || requests().filter(|(at, _)| at + window > clock && *at <= clock);
        let total = inside().count() as u64;
        let good = inside().filter(|(_, ok)| *ok).count() as u64;
        let is_healthy = u128::from(good) * 1_000_000_000 >= u128::from(objective) * u128::from(total);
        if is_healthy == open[endpoint] {
            let newest = steps[..end].iter().rev().find_map(|step| match *step {
                Step::Change(other, change) if other == service => Some(change),
                _ => None,
            });
            open[endpoint] = !is_healthy;
            transitions.push((endpoint, clock, open[endpoint], newest, good, total));
        }
    }
    transitions
}

fn flat(transition: Transition) -> (usize, u64, bool, Option<i64>, u64, u64) {
    let change = |change: Option<ChangeId>| change.map(|change| change.0);
    match transition {
        Transition::Opened { endpoint, at, breaking, good, total } => {
            (endpoint.index(), at.get(), true, change(breaking), good, total)
        }
        Transition::Closed { endpoint, at, fixing, good, total } => {
            (endpoint.index(), at.get(), false, change(fixing), good, total)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_engine_agrees_with_a_model_that_recounts_everything(goals in goals(), steps in steps()) {
        let mut run = Run::new(&goals);
        let transitions: Vec<_> = steps.iter().filter_map(|step| run.step(*step)).map(flat).collect();
        prop_assert_eq!(&transitions, &model(&goals, &steps));

        // Of one endpoint no two incidents overlap, and none ends before it starts.
        for endpoint in 0..goals.len() {
            let own: Vec<_> = transitions.iter().filter(|transition| transition.0 == endpoint).collect();
            for (index, transition) in own.iter().enumerate() {
                prop_assert_eq!(transition.2, index % 2 == 0);
            }
            prop_assert!(own.is_sorted_by_key(|transition| transition.1));
        }
    }

    #[test]
    fn an_engine_that_starts_again_anywhere_goes_on_as_if_it_had_not(
        goals in goals(),
        steps in steps(),
        stop in any::<prop::sample::Index>(),
    ) {
        let stop = stop.index(steps.len() + 1);
        let mut run = Run::new(&goals);
        for step in &steps[..stop] {
            run.step(*step);
        }
        let mut restarted = run.restarted(&goals);
        let mut reloaded = run.reloaded(&goals, &steps[..stop]);
        for endpoint in &run.endpoints {
            prop_assert_eq!(run.engine.snapshot(*endpoint), restarted.engine.snapshot(*endpoint));
            prop_assert_eq!(run.engine.snapshot(*endpoint), reloaded.engine.snapshot(*endpoint));
        }
        for step in &steps[stop..] {
            let expected = run.step(*step);
            prop_assert_eq!(restarted.step(*step), expected);
            prop_assert_eq!(reloaded.step(*step), expected);
        }
    }
}

const INFO: &str = r#"[{"name": "svc", "verb": "GET", "resource": "/a", "slo": 0.9, "window": 1},
                       {"name": "svc", "verb": "GET", "resource": "/\"é'\\", "slo": 0.5, "window": 2.5},
                       {"name": "other", "verb": "POST", "resource": "/a?b=c", "slo": 0, "window": "3"}]"#;

fn info() -> Info {
    Info::parse(INFO.as_bytes()).unwrap()
}

/// A line that is right in one of the usual shapes, or nearly.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let right = prop_oneof![
        8 => (0..3usize, 0..4usize, 0..50u32, prop_oneof![Just("200"), Just("503"), Just("600"), Just("20")]).prop_map(
            |(shape, endpoint, tenths, status)| {
                let name = ["GET /a", r#"GET /\"é'\\"#, "POST /a?b=c", "GET  /b"][endpoint];
                let value = format!("{}.{} {name} {status}", tenths / 10, tenths % 10);
                match shape {
                    0 => format!(r#"{{"type": "access", "value": "{value}"}}"#),
                    1 => format!(r#"{{"type":"access","value":"{value}"}}"#),
                    _ => format!("{{'type': 'access', 'value': '{value}'}}"),
                }
            }
        ),
        1 => Just(r#"{"type": "change", "value": "commit: x\nAuthor: a\nDate: 2018-11-28 14:11:31\nService: svc\n"}"#.to_owned()),
        1 => Just(r"{'type': 'change', 'value': 'commit: x\nAuthor: a\nDate: Wed Nov 28 14:11:31 PST 2018\nService: other\n'}".to_owned()),
    ];
    let byte =
        prop_oneof![any::<u8>(), prop::sample::select(b" \t\r\"'\\{}[]:,.0123459eE+-/\x00\xff\xc3\xa9\n".to_vec())];
    let edits = vec((any::<prop::sample::Index>(), 0..4u8, byte), 0..3);
    (right, edits).prop_map(|(line, edits)| {
        let mut line = line.into_bytes();
        for (place, edit, byte) in edits {
            let place = place.index(line.len() + 1);
            match edit {
                0 => line.insert(place, byte),
                1 if place < line.len() => line[place] = byte,
                2 if place < line.len() => drop(line.remove(place)),
                3 => line.truncate(place),
                _ => {}
            }
        }
        line
    })
}

/// As [`Monitor::line`] does it where nothing is usual.
fn slowly(monitor: &mut Monitor, line: &[u8]) -> Result<bool, Rejection> {
    match Envelope::parse(line)? {
        None => Ok(true),
        Some(Envelope::EndOfStream) => Ok(false),
        Some(Envelope::Access(value)) => monitor.access(&Access::parse(&value)?).map(|()| true),
        Some(Envelope::Change(value)) => monitor.change(&Change::parse(&value)?).map(|()| true),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(700))]

    #[test]
    fn the_short_way_through_a_line_finds_what_the_long_one_finds(lines in vec(line(), 0..40)) {
        let (mut short, mut long) = (Monitor::new(&info()), Monitor::new(&info()));
        for line in &lines {
            prop_assert_eq!(short.line(line), slowly(&mut long, line), "{}", String::from_utf8_lossy(line));
        }
        prop_assert_eq!(short.incidents(), long.incidents());
    }

    #[test]
    fn where_a_stream_is_cut_makes_no_difference(
        lines in vec(line(), 0..30),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
        lenient in any::<bool>(),
    ) {
        let mode = if lenient { Mode::Lenient } else { Mode::Strict };
        let stream = lines.join(&b'\n');
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).chain([0, stream.len()]).collect();
        cuts.sort_unstable();
        let whole = || {
            let mut replay = Replay::new(&info(), mode);
            replay.feed(&stream)?;
            replay.finish()
        };
        let pieces = || {
            let mut replay = Replay::new(&info(), mode);
            for piece in cuts.windows(2) {
                replay.feed(&stream[piece[0]..piece[1]])?;
            }
            replay.finish()
        };
        prop_assert_eq!(whole(), pieces());
    }

    #[test]
    fn no_bytes_make_anything_panic(bytes in vec(any::<u8>(), 0..300), text in "[\\[{'\"a:,}\\]\\\\xuU0-9eE.+ \\-]{0,80}") {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            let _ = Info::parse(bytes);
            let mut replay = Replay::new(&info(), Mode::Lenient);
            prop_assert!(replay.feed(bytes).is_ok());
            prop_assert!(serde_json::to_string(&replay.finish().unwrap()).is_ok());
        }
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _ = (Access::parse(text), Change::parse(text), Nanos::parse(text));
            let _ = (Objective::parse(text), Window::parse_json_number(text));
        }
    }
}
