//! The things a back end says when it fails: too much, and nothing helpful.

use serde_json::json;

/// A failure of several lines. The number picks the story and fills in its ids.
pub(super) fn tell(number: u64) -> String {
    let request_id = format!("{number:016x}");
    let waited_ms = 30_000 + number % 97;
    let process = 4_000 + number % 5_000;
    let story = match number % 3 {
        0 => json!({
            "error": "InternalServerError",
            "message": "could not load the greeting",
            "request_id": request_id,
            "caused_by": [
                "GreetingRepository::find: no connection available",
                format!("pool timed out after {waited_ms} ms (size 10, in use 10, waiting 212)"),
            ],
            "trace": [
                "at Pool::acquire (src/db/pool.rs:118:22)",
                "at GreetingRepository::find (src/greetings/repository.rs:47:9)",
                "at fantastic::handlers::index (src/handlers/index.rs:23:14)",
            ],
        }),
        1 => json!({
            "error": "DatabaseError",
            "message": "deadlock detected",
            "request_id": request_id,
            "sqlstate": "40P01",
            "detail": format!(
                "Process {process} waits for ShareLock on transaction 918273; blocked by process {}.\n\
                 Process {} waits for ShareLock on transaction 918274; blocked by process {process}.",
                process + 7,
                process + 7,
            ),
            "statement": "update adjective set used = used + 1 where word = 'fantastic'",
        }),
        _ => json!({
            "error": "UpstreamError",
            "message": "adjective-service answered 503 Service Unavailable",
            "request_id": request_id,
            "attempts": [
                { "try": 1, "host": "adjectives-0.internal:8080", "result": "connection refused" },
                { "try": 2, "host": "adjectives-1.internal:8080", "result": "connection refused" },
                { "try": 3, "host": "adjectives-2.internal:8080", "result": "503 overloaded" },
            ],
            "hint": "retry later",
        }),
    };
    format!("{story:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_story_has_several_lines_and_a_request_id() {
        for number in 0..3 {
            let story = tell(number);

            assert!(story.lines().count() > 5, "{story}");
            assert!(story.contains(&format!("{number:016x}")), "{story}");
        }
    }
}
