//! From a path to what it asks for.

use std::time::Duration;

/// What a path asks for. The number of a path is its argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Ok,
    Delay(Duration),
    Status(u16),
    Flaky(u8),
    Switch,
    Echo,
    Redirect(u64),
    RedirectTo,
    Loop,
    Body(u64),
    Gzip(u64),
    Hang,
    Reset,
    Close,
    Truncate,
    SlowBody(Duration),
    DripHead(Duration),
    Garbage,
    EndlessHeaders,
    ManyHeaders(u64),
    BigHeader(u64),
    BadChunk,
    BadGzip,
    Informational,
    Log,
    Stats,
}

impl Route {
    /// `None` for an unknown path, and for an argument that makes no sense.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        if let Some((name, argument)) = path.split_once('/') {
            return Self::with_number(name, argument.parse().ok()?);
        }
        Some(match path {
            "ok" => Self::Ok,
            "switch" => Self::Switch,
            "echo" => Self::Echo,
            "redirect-to" => Self::RedirectTo,
            "loop" => Self::Loop,
            "hang" => Self::Hang,
            "reset" => Self::Reset,
            "close" => Self::Close,
            "truncate" => Self::Truncate,
            "garbage" => Self::Garbage,
            "endless-headers" => Self::EndlessHeaders,
            "bad-chunk" => Self::BadChunk,
            "bad-gzip" => Self::BadGzip,
            "informational" => Self::Informational,
            "_log" => Self::Log,
            "_stats" => Self::Stats,
            _ => return None,
        })
    }

    fn with_number(name: &str, number: u64) -> Option<Self> {
        Some(match name {
            "delay" => Self::Delay(Duration::from_millis(number)),
            "status" if (100..1000).contains(&number) => Self::Status(number as u16),
            "flaky" if number <= 100 => Self::Flaky(number as u8),
            "redirect" => Self::Redirect(number),
            "body" => Self::Body(number),
            "gzip" => Self::Gzip(number),
            "slow-body" => Self::SlowBody(Duration::from_millis(number)),
            "drip-head" => Self::DripHead(Duration::from_millis(number)),
            "many-headers" => Self::ManyHeaders(number),
            "big-header" => Self::BigHeader(number),
            _ => return None,
        })
    }

    /// Whether it asks about the server, which the log leaves out.
    pub(super) fn is_about_the_server(self) -> bool {
        matches!(self, Self::Log | Self::Stats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_its_number_make_a_route() {
        assert_eq!(Route::parse("/ok"), Some(Route::Ok));
        assert_eq!(Route::parse("/status/404"), Some(Route::Status(404)));
        assert_eq!(Route::parse("/delay/50"), Some(Route::Delay(Duration::from_millis(50))));
    }

    #[test]
    fn what_makes_no_sense_is_no_route() {
        for path in [
            "",
            "/",
            "ok",
            "/okay",
            "/ok/1",
            "/ok/",
            "/status",
            "/status/",
            "/status/99",
            "/status/1000",
            "/flaky/101",
            "/body/-1",
            "/body/many",
            "/delay/1/2",
            "*",
        ] {
            assert_eq!(Route::parse(path), None, "{path}");
        }
    }
}
