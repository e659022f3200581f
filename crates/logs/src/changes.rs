//! The log of git: which commits there were, and when.

use engine::{Nanos, Reason, Rejection};

use crate::date;

/// A commit and when it came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// When.
    pub at: Nanos,
    /// Its name.
    pub id: String,
}

/// What `git log` has to be told for the dates of committing, with the offset in them.
pub const FORMAT: &str = "%H %cI %ae";

/// Reads what `git log --format='%H %cI %ae'` prints, or plain `git log`: the commits
/// oldest first, and the lines that are neither, by number.
///
/// Plain `git log` shows dates of writing, which a rebase leaves behind.
pub fn parse(text: &str) -> (Vec<Commit>, Vec<(u64, Rejection)>) {
    let mut commits = Vec::new();
    let mut rejected = Vec::new();
    // A commit of the plain form whose date has not come yet, with its line.
    let mut begun: Option<(u64, &str)> = None;
    let undated = || Rejection::new(Reason::BadDate, "has no date below it");
    for (index, line) in text.lines().enumerate() {
        let number = index as u64 + 1;
        let words: Vec<_> = line.split_ascii_whitespace().take(3).collect();
        match words.as_slice() {
            _ if line.trim().is_empty() || line.starts_with("    ") => {}
            ["commit", id, ..] if is_id(id) => {
                if let Some((number, _)) = begun.replace((number, id)) {
                    rejected.push((number, undated()));
                }
            }
            ["Date:" | "CommitDate:" | "AuthorDate:", ..] if begun.is_some() => {
                let date = line.split_once(':').map_or("", |(_, date)| date.trim());
                match (date::git(date).or_else(|| date::rfc3339(date)), begun) {
                    (Some(at), Some((_, id))) => {
                        begun = None;
                        commits.push(Commit { at, id: id.to_owned() });
                    }
                    _ => {
                        begun = None;
                        rejected.push((number, Rejection::new(Reason::BadDate, "is no date as git writes it")));
                    }
                }
            }
            // What else a commit of the plain form has to say, before and after its date.
            ["Author:" | "Commit:" | "Merge:" | "CommitDate:" | "AuthorDate:", ..] => {}
            [id, date, ..] if is_id(id) => match date::rfc3339(date) {
                Some(at) => commits.push(Commit { at, id: (*id).to_owned() }),
                None => rejected.push((number, Rejection::new(Reason::BadDate, "has no date like %cI"))),
            },
            _ => {
                let explanation = "is no line of git log, plain or with --format='%H %cI %ae'";
                rejected.push((number, Rejection::new(Reason::BadChange, explanation)));
            }
        }
    }
    if let Some((number, _)) = begun {
        rejected.push((number, undated()));
    }
    // git prints the newest first: of the same second, the one that stands below came first.
    commits.reverse();
    commits.sort_by_key(|commit| commit.at);
    (commits, rejected)
}

/// A hexadecimal number, perhaps abbreviated.
fn is_id(text: &str) -> bool {
    (4..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<String> {
        let (commits, rejected) = parse(text);
        assert_eq!(rejected, []);
        commits.iter().map(|commit| format!("{} {}", commit.at, commit.id)).collect()
    }

    #[test]
    fn the_short_form_is_sorted_by_time_and_git_prints_the_newest_first() {
        let text = "aaaa1 2018-11-28T14:11:33-08:00 a@b\n\
                    aaaa2 2018-11-28T22:11:31Z a@b\n\
                    aaaa3 2018-11-28T23:11:31+01:00 c d@e\n\
                    \n\
                    aaaa4 2018-11-28T14:11:34-08:00\n";
        assert_eq!(ids(text), ["1543443091 aaaa3", "1543443091 aaaa2", "1543443093 aaaa1", "1543443094 aaaa4"]);
    }

    #[test]
    fn plain_git_log_is_understood_with_merges_and_messages() {
        let text = "\
commit 2573e21d6e7e1f1bbd2b6c8b6f5c0c8f6a0f0e11 (HEAD -> main, origin/main)
Merge: 88042db 002fa2f
Author: A U Thor <a@b>
Date:   Wed Nov 28 14:11:33 2018 -0800

    Date: is a word

    commit 1234567 did it

commit 88042db
Author:     A U Thor <a@b>
AuthorDate: Wed Nov 28 14:11:31 2018 -0800
Commit:     C O Mitter <c@d>
CommitDate: Thu Nov 29 14:11:31 2018 -0800

    x
";
        assert_eq!(ids(text), ["1543443091 88042db", "1543443093 2573e21d6e7e1f1bbd2b6c8b6f5c0c8f6a0f0e11"]);
    }

    #[test]
    fn other_lines_are_rejected_by_number() {
        let (commits, rejected) = parse("nonsense\naaaa1 yesterday\ncommit aaaa2\ncommit aaaa3\nDate: x\nxyz 1\n");
        assert_eq!(commits, []);
        let reasons: Vec<_> = rejected.iter().map(|(number, rejection)| (*number, rejection.reason.label())).collect();
        assert_eq!(reasons, [(1, "bad-change"), (2, "bad-date"), (3, "bad-date"), (5, "bad-date"), (6, "bad-change")]);
    }
}
