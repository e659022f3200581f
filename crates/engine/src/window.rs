//! The requests inside one trailing window, and how many of them were good.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::goal::Window;
use crate::time::Nanos;

/// Below this many, room is not given back.
const SMALL: usize = 64;

/// The requests of one endpoint that still count.
///
/// Those that came in order wait in a queue, those that came late in a heap:
/// either end gives the oldest at once, so leaving costs O(1) or O(log n), and
/// entering too, however late.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests {
    in_order: VecDeque<Request>,
    late: BinaryHeap<Reverse<Request>>,
    good: u64,
}

/// A moment and, in the lowest bit, whether it was a success; ordered by moment.
/// Twice the largest moment and one still fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Request(u64);

impl Request {
    #[inline]
    fn new(at: Nanos, ok: bool) -> Self {
        Self(at.get() << 1 | u64::from(ok))
    }

    #[inline]
    fn at(self) -> u64 {
        self.0 >> 1
    }

    #[inline]
    fn is_ok(self) -> bool {
        self.0 & 1 == 1
    }

    /// Half open: a request aged exactly the window is outside.
    #[inline]
    fn has_left(self, window: Window, clock: Nanos) -> bool {
        self.at() + window.nanos() <= clock.get()
    }
}

impl Requests {
    /// Lets those leave that are too old at `clock`, and lets the new one in
    /// unless it is too old itself.
    #[inline]
    pub(crate) fn slide(&mut self, window: Window, clock: Nanos, at: Nanos, ok: bool) {
        let request = Request::new(at, ok);
        if !request.has_left(window, clock) {
            if self.in_order.back().is_none_or(|newest| newest.at() <= request.at()) {
                self.in_order.push_back(request);
            } else {
                self.late.push(Reverse(request));
            }
            self.good += u64::from(ok);
        }
        self.forget(window, clock);
    }

    #[inline]
    fn forget(&mut self, window: Window, clock: Nanos) {
        while let Some(&oldest) = self.in_order.front()
            && oldest.has_left(window, clock)
        {
            self.in_order.pop_front();
            self.good -= u64::from(oldest.is_ok());
        }
        while let Some(&Reverse(oldest)) = self.late.peek()
            && oldest.has_left(window, clock)
        {
            self.late.pop();
            self.good -= u64::from(oldest.is_ok());
        }
        // A burst is over: halving at a quarter costs O(1) amortised.
        if self.in_order.capacity() > SMALL && self.in_order.len() < self.in_order.capacity() / 4 {
            self.in_order.shrink_to(self.in_order.capacity() / 2);
        }
        if self.late.capacity() > SMALL && self.late.len() < self.late.capacity() / 4 {
            self.late.shrink_to(self.late.capacity() / 2);
        }
    }

    pub(crate) fn good(&self) -> u64 {
        self.good
    }

    pub(crate) fn total(&self) -> u64 {
        (self.in_order.len() + self.late.len()) as u64
    }

    /// All of them, by time; of the same moment, failures first.
    pub(crate) fn list(&self) -> Vec<(Nanos, bool)> {
        let late = self.late.iter().map(|Reverse(request)| request);
        let mut list: Vec<_> = self.in_order.iter().chain(late).copied().collect();
        list.sort_unstable();
        list.into_iter().filter_map(|request| Some((Nanos::new(request.at())?, request.is_ok()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Nanos {
        Nanos::new(nanos).unwrap()
    }

    #[test]
    fn the_latest_moment_and_the_longest_window_do_not_overflow() {
        let mut requests = Requests::default();
        let longest = Window::from_nanos(Nanos::MAX.get()).unwrap();
        requests.slide(longest, Nanos::MAX, Nanos::MAX, true);
        requests.slide(longest, Nanos::MAX, at(1), false);
        requests.slide(longest, Nanos::MAX, at(0), false);
        assert_eq!((requests.good(), requests.total()), (1, 2));
        assert_eq!(requests.list(), [(at(1), false), (Nanos::MAX, true)]);
    }

    #[test]
    fn a_burst_leaves_no_room_behind() {
        let mut requests = Requests::default();
        let window = Window::from_nanos(1_000).unwrap();
        for _ in 0..100_000 {
            requests.slide(window, at(10_000), at(10_000), true);
            requests.slide(window, at(10_000), at(9_999), true);
        }
        assert_eq!(requests.total(), 200_000);
        for later in 0..100 {
            requests.slide(window, at(20_000 + later), at(20_000 + later), true);
        }
        assert_eq!(requests.total(), 100);
        assert!(requests.in_order.capacity() <= 512, "{}", requests.in_order.capacity());
        assert!(requests.late.capacity() <= 512, "{}", requests.late.capacity());
    }
}
