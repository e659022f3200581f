use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use common::{Outcome, Phases};
use tokio::time::sleep;

use super::super::tally::{Counts, Status};
use super::*;

/// A made-up endpoint: answers after so many milliseconds, or never.
type Answers = fn(usize) -> Option<u64>;

#[derive(Default)]
struct Heard {
    reports: Vec<(Duration, Report)>,
    started: Vec<u32>,
    answered: usize,
    began: Option<Instant>,
}

impl Audience for Heard {
    fn starts(&mut self, cycle: u32) {
        self.started.push(cycle);
    }

    fn answered(&mut self) {
        self.answered += 1;
    }

    fn report(&mut self, report: Report) {
        self.reports.push((self.began.unwrap().elapsed(), report));
    }
}

impl Heard {
    /// When each cycle's report came, in milliseconds.
    fn reported_at(&self) -> Vec<u128> {
        self.reports.iter().map(|(at, _)| at.as_millis()).collect()
    }
}

/// A world in which time passes by itself and all requests are noted.
struct World {
    endpoints: usize,
    at_once: usize,
    timeout: Duration,
    answers: Answers,
    /// Time since the start and endpoint of each request.
    asked: Arc<Mutex<Vec<(u128, usize)>>>,
}

impl World {
    fn new(endpoints: usize, answers: Answers) -> Self {
        Self { endpoints, at_once: 1_000, timeout: Duration::MAX, answers, asked: Arc::default() }
    }

    async fn run(&self, grid: Grid, stop: &CancellationToken) -> (End, Report, Heard) {
        let endpoint = |index: usize| Endpoint {
            name: index.to_string(),
            timeout: self.timeout,
            degraded_after: Duration::from_millis(500),
        };
        let plan = Plan { grid, endpoints: (0..self.endpoints).map(endpoint).collect(), at_once: self.at_once };
        let domain = |index: usize| if index.is_multiple_of(2) { "even" } else { "odd" };
        let tally = Tally::new((0..self.endpoints).map(|index| (index.to_string(), domain(index).to_owned())));
        let began = Instant::now();
        let (asked, answers) = (Arc::clone(&self.asked), self.answers);
        let ask = move |endpoint: usize, within: Duration| {
            asked.lock().unwrap().push((began.elapsed().as_millis(), endpoint));
            let takes = answers(endpoint).map_or(Duration::MAX, Duration::from_millis);
            async move {
                sleep(takes.min(within)).await;
                probed(takes, within)
            }
        };
        let epoch = DateTime::UNIX_EPOCH;
        let mut heard = Heard { began: Some(began), ..Heard::default() };
        let (end, report) = run(&plan, tally, ask, move || epoch + began.elapsed(), &mut heard, stop).await;
        (end, report, heard)
    }

    /// When each endpoint was asked, in milliseconds.
    fn asked(&self) -> BTreeMap<usize, Vec<u128>> {
        let mut asked: BTreeMap<usize, Vec<u128>> = BTreeMap::new();
        for (at, endpoint) in self.asked.lock().unwrap().iter() {
            asked.entry(*endpoint).or_default().push(*at);
        }
        asked
    }
}

fn probed(takes: Duration, within: Duration) -> Probed {
    let (outcome, code) = match takes {
        _ if takes > within => (Outcome::Down(Cause::Timeout), None),
        _ if takes > Duration::from_millis(500) => (Outcome::Degraded, Some(200)),
        _ => (Outcome::Up, Some(200)),
    };
    let elapsed_us = u32::try_from(takes.min(within).as_micros()).ok();
    Probed { started: Instant::now(), outcome, code, elapsed_us, phases: Phases::default(), detail: None }
}

fn seconds(frequency: u64, run: u64) -> Grid {
    Grid::new(Duration::from_secs(frequency), (run > 0).then(|| Duration::from_secs(run)))
}

fn counts(report: &Report, endpoint: usize) -> (u64, u64, u64) {
    let Counts { up, degraded, down } = report.tally.endpoints().nth(endpoint).unwrap().counts;
    (up, degraded, down)
}

#[tokio::test(start_paused = true)]
async fn cycles_start_on_the_grid_however_slowly_anybody_answers() {
    // Five of fifty never answer; the others after their number of milliseconds, number 9 after 600.
    let world = World::new(50, |endpoint| match endpoint {
        9 => Some(600),
        endpoint if endpoint.is_multiple_of(10) => None,
        endpoint => Some(endpoint as u64),
    });
    let began = Instant::now();
    let (end, last, heard) = world.run(seconds(2, 20), &CancellationToken::new()).await;

    assert_eq!((end, began.elapsed()), (End::Complete, Duration::from_secs(20)));
    let grid: Vec<u128> = (0..10).map(|cycle| cycle * 2_000).collect();
    for (endpoint, asked) in world.asked() {
        assert_eq!(asked, grid, "endpoint {endpoint}");
    }
    assert_eq!(heard.started, (1..=10).collect::<Vec<_>>());
    assert_eq!(heard.answered, 500);
    // The last request of a cycle ends a tenth of a second before the next one starts.
    assert_eq!(heard.reported_at(), grid.iter().map(|start| start + 1_900).collect::<Vec<_>>());
    for (index, (_, report)) in heard.reports.iter().enumerate() {
        assert_eq!((report.cycle as usize, report.is_final), (index + 1, false));
        assert_eq!(report.at.timestamp_millis(), index as i64 * 2_000);
        assert_eq!(counts(report, 1), (index as u64 + 1, 0, 0));
    }
    assert_eq!((last.cycle, last.is_final, last.at.timestamp_millis()), (10, true, 20_000));
    assert_eq!((counts(&last, 0), counts(&last, 1), counts(&last, 9)), ((0, 0, 10), (10, 0, 0), (0, 10, 0)));
    let hanging = last.tally.last(0).unwrap();
    assert_eq!((hanging.status, hanging.cause), (Status::Down, Some("timeout")));
    assert_eq!(hanging.elapsed_us, Some(1_900_000));
    let percent: Vec<_> = last.tally.domains().map(|(domain, counts)| (domain, counts.availability())).collect();
    assert_eq!(percent, [("even", Some(80)), ("odd", Some(96))]);
}

#[tokio::test(start_paused = true)]
async fn a_cycle_is_reported_when_its_last_request_has_ended() {
    let world = World::new(3, |endpoint| Some(endpoint as u64 * 100));
    let (_, _, heard) = world.run(seconds(1, 3), &CancellationToken::new()).await;
    assert_eq!(heard.reported_at(), [200, 1_200, 2_200]);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_its_own_is_the_limit_if_it_is_shorter() {
    let mut world = World::new(1, |_| None);
    world.timeout = Duration::from_millis(300);
    let (_, last, heard) = world.run(seconds(2, 4), &CancellationToken::new()).await;
    assert_eq!(heard.reported_at(), [300, 2_300]);
    assert_eq!(last.tally.last(0).unwrap().elapsed_us, Some(300_000));
    world.timeout = Duration::from_secs(5);
    let (_, last, _) = world.run(seconds(2, 4), &CancellationToken::new()).await;
    assert_eq!(last.tally.last(0).unwrap().elapsed_us, Some(1_900_000));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_within_a_cycle_ends_its_requests_too() {
    let world = World::new(2, |endpoint| (endpoint == 0).then_some(10));
    let began = Instant::now();
    let (end, last, heard) = world.run(seconds(15, 5), &CancellationToken::new()).await;
    assert_eq!((end, began.elapsed()), (End::Complete, Duration::from_secs(5)));
    assert_eq!((last.cycle, heard.reported_at()), (1, vec![4_900]));
    assert_eq!((counts(&last, 0), counts(&last, 1)), ((1, 0, 0), (0, 0, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_stop_at_any_moment_reports_all_that_was_measured_and_no_more() {
    // Stopped before anything, before the first answer, in the middle of a cycle, between cycles.
    for (stop_at, completed, quick, hanging) in
        [(0, 0, 0, 0), (5, 0, 0, 0), (1_500, 0, 1, 0), (1_950, 1, 1, 1), (7_000, 3, 4, 3), (7_999, 4, 4, 4)]
    {
        let world = World::new(2, |endpoint| (endpoint == 0).then_some(10));
        let stop = CancellationToken::new();
        if stop_at == 0 {
            stop.cancel();
        }
        let stopper = stop.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(stop_at)).await;
            stopper.cancel();
        });
        let began = Instant::now();
        let (end, last, heard) = world.run(seconds(2, 0), &stop).await;
        assert_eq!((end, began.elapsed().as_millis()), (End::Stopped, u128::from(stop_at)), "{stop_at}");
        assert_eq!((last.cycle, heard.reports.len()), (completed, completed as usize), "{stop_at}");
        assert_eq!((counts(&last, 0), counts(&last, 1)), ((quick, 0, 0), (0, 0, hanging)), "{stop_at}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_are_asked_at_once_than_there_are_places() {
    let mut world = World::new(10, |_| Some(100));
    world.at_once = 4;
    let (_, last, heard) = world.run(seconds(2, 4), &CancellationToken::new()).await;
    let asked: Vec<u128> = world.asked.lock().unwrap().iter().map(|(at, _)| *at).collect();
    let expected = [0, 0, 0, 0, 100, 100, 100, 100, 200, 200];
    assert_eq!(asked, expected.iter().copied().chain(expected.iter().map(|at| at + 2_000)).collect::<Vec<_>>());
    assert_eq!(heard.reported_at(), [300, 2_300]);
    // Waiting for a place is not the endpoint's time.
    assert_eq!(last.tally.last(9).unwrap().elapsed_us, Some(100_000));
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_hang_take_no_places_of_others_for_long() {
    // The first three hang, and there are as many places.
    let mut world = World::new(5, |endpoint| (endpoint > 2).then_some(10));
    world.at_once = 3;
    let (_, last, heard) = world.run(seconds(2, 6), &CancellationToken::new()).await;
    let all: Vec<_> = (0..5).map(|endpoint| counts(&last, endpoint)).collect();
    // Nobody is blamed for not having been asked in the first cycle.
    assert_eq!(all[3..], [(2, 0, 0), (2, 0, 0)]);
    assert_eq!(all[..3], [(0, 0, 3), (0, 0, 3), (0, 0, 3)]);
    assert_eq!((last.cycle, heard.answered), (3, 13));
}

#[tokio::test(start_paused = true)]
async fn cycles_of_a_time_in_which_we_stood_still_are_left_out_and_the_grid_stays() {
    let world = World::new(1, |_| Some(10));
    let stop = CancellationToken::new();
    let standstill = tokio::spawn(async {
        sleep(Duration::from_millis(2_500)).await;
        tokio::time::advance(Duration::from_millis(4_450)).await;
    });
    let (_, last, heard) = world.run(seconds(1, 10), &stop).await;
    standstill.await.unwrap();
    assert_eq!(world.asked()[&0], [0, 1_000, 2_000, 7_000, 8_000, 9_000]);
    assert_eq!(heard.started, [1, 2, 3, 8, 9, 10]);
    assert_eq!((last.cycle, counts(&last, 0)), (6, (6, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_has_cycles_without_anything_in_them() {
    let world = World::new(0, |_| None);
    let (end, last, heard) = world.run(seconds(2, 4), &CancellationToken::new()).await;
    assert_eq!((end, last.cycle, heard.reported_at()), (End::Complete, 2, vec![0, 2_000]));
}

/// Steps of this thread's that are due at once, as when something has arrived.
async fn steps(mut left: usize) {
    std::future::poll_fn(|context| {
        left -= 1;
        if left == 0 {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// Else the first of a thousand would be told that they were slow, while it was us who began the others.
#[tokio::test(start_paused = true)]
async fn a_request_begins_once_all_under_way_have_had_what_arrived_for_them() {
    static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let ask = |_: usize, within: Duration| async move {
        MOST.fetch_max(UNDER_WAY.fetch_add(1, Relaxed) + 1, Relaxed);
        steps(10).await;
        UNDER_WAY.fetch_sub(1, Relaxed);
        probed(Duration::ZERO, within)
    };
    let endpoint = |index: usize| Endpoint {
        name: index.to_string(),
        timeout: Duration::MAX,
        degraded_after: Duration::from_millis(500),
    };
    let plan = Plan { grid: seconds(2, 2), endpoints: (0..500).map(endpoint).collect(), at_once: 1_000 };
    let tally = Tally::new((0..500).map(|index| (index.to_string(), "all".to_owned())));
    let mut heard = Heard { began: Some(Instant::now()), ..Heard::default() };
    let stop = CancellationToken::new();
    let (_, report) = run(&plan, tally, ask, || DateTime::UNIX_EPOCH, &mut heard, &stop).await;
    assert_eq!(report.tally.domains().next().unwrap().1.up, 500);
    let most = MOST.load(Relaxed);
    assert!(most <= 2, "{most} at once");
}
