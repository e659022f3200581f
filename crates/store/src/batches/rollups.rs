//! What a batch adds to the roll-ups, in one upsert each.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::status::COUNTS;
use common::target::micros_to_utc;
use common::{Cause, Check, LATENCY_BUCKETS, Outcome, Tally, TargetId};
use serde_json::Value;
use sqlx::PgConnection;

use crate::StoreError;

/// What a batch adds to the roll-ups, in key order.
#[derive(Default)]
pub(super) struct Rollups {
    seconds: BTreeMap<i64, Tally>,
    /// Of each second, checks by status code.
    codes: BTreeMap<i64, BTreeMap<u16, i32>>,
    minutes: BTreeMap<(TargetId, i64), Tally>,
}

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;

impl Rollups {
    fn of(&mut self, check: &Check) -> [&mut Tally; 2] {
        let slot = check.slot.0;
        [
            self.seconds.entry(slot - slot.rem_euclid(SECOND_US)).or_default(),
            self.minutes.entry((check.target_id, slot - slot.rem_euclid(MINUTE_US))).or_default(),
        ]
    }

    pub(super) fn add(&mut self, check: &Check) {
        self.of(check).into_iter().for_each(|tally| tally.add(check));
        if let Some(code) = check.code {
            let second = check.slot.0 - check.slot.0.rem_euclid(SECOND_US);
            *self.codes.entry(second).or_default().entry(code).or_default() += 1;
        }
    }

    pub(super) fn take_back(&mut self, check: &Check, old: Outcome) {
        self.of(check).into_iter().for_each(|tally| tally.take_back(old));
    }

    fn codes_of(&self, second: i64) -> Value {
        let codes = self.codes.get(&second).into_iter().flatten();
        Value::Object(codes.map(|(code, count)| (code.to_string(), Value::from(*count))).collect())
    }

    pub(super) async fn save(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        if self.seconds.is_empty() {
            return Ok(());
        }
        // Counts and buckets travel as one flat array each, `width` numbers a row.
        let bucket_at: Vec<DateTime<Utc>> = self.seconds.keys().map(|at| micros_to_utc(*at)).collect();
        let counts: Vec<i32> = self.seconds.values().flat_map(Tally::counts).collect();
        let codes: Vec<Value> = self.seconds.keys().map(|second| self.codes_of(*second)).collect();
        debug_assert_eq!(counts.len(), bucket_at.len() * COUNTS);
        sqlx::query!(
            "insert into rollup_second as r (bucket_at, codes,
            up, degraded, missed, unknown, down_dns, down_refused, down_timeout, down_reset, down_tls,
            down_protocol, down_body, down_redirect, down_status, down_assertion, class_1xx, class_2xx, class_3xx,
            class_4xx, class_5xx)
            select b.bucket_at, b.codes,
            ($2::int4[])[b.o + 1], ($2::int4[])[b.o + 2], ($2::int4[])[b.o + 3], ($2::int4[])[b.o + 4], ($2::int4[])[b.o + 5], ($2::int4[])[b.o + 6], ($2::int4[])[b.o + 7], ($2::int4[])[b.o + 8],
            ($2::int4[])[b.o + 9], ($2::int4[])[b.o + 10], ($2::int4[])[b.o + 11], ($2::int4[])[b.o + 12], ($2::int4[])[b.o + 13], ($2::int4[])[b.o + 14], ($2::int4[])[b.o + 15],
            ($2::int4[])[b.o + 16], ($2::int4[])[b.o + 17], ($2::int4[])[b.o + 18], ($2::int4[])[b.o + 19]
            from (select bucket_at, codes, (19 * (place - 1))::int4 as o
                  from unnest($1::timestamptz[], $3::jsonb[]) with ordinality as u (bucket_at, codes, place)) as b
            on conflict (bucket_at, location_id) do update set
            codes = add_codes(r.codes, excluded.codes),
            up = r.up + excluded.up, degraded = r.degraded + excluded.degraded, missed = r.missed + excluded.missed,
            unknown = r.unknown + excluded.unknown, down_dns = r.down_dns + excluded.down_dns,
            down_refused = r.down_refused + excluded.down_refused,
            down_timeout = r.down_timeout + excluded.down_timeout, down_reset = r.down_reset + excluded.down_reset,
            down_tls = r.down_tls + excluded.down_tls, down_protocol = r.down_protocol + excluded.down_protocol,
            down_body = r.down_body + excluded.down_body, down_redirect = r.down_redirect + excluded.down_redirect,
            down_status = r.down_status + excluded.down_status,
            down_assertion = r.down_assertion + excluded.down_assertion,
            class_1xx = r.class_1xx + excluded.class_1xx, class_2xx = r.class_2xx + excluded.class_2xx,
            class_3xx = r.class_3xx + excluded.class_3xx, class_4xx = r.class_4xx + excluded.class_4xx,
            class_5xx = r.class_5xx + excluded.class_5xx",
            &bucket_at,
            &counts,
            &codes,
        )
        .execute(&mut *connection)
        .await?;

        let targets: Vec<i32> = self.minutes.keys().map(|(target, _)| target.0).collect();
        let bucket_at: Vec<DateTime<Utc>> = self.minutes.keys().map(|(_, at)| micros_to_utc(*at)).collect();
        let counts: Vec<i32> = self.minutes.values().flat_map(Tally::counts).collect();
        let latency_sum: Vec<i64> = self.minutes.values().map(|tally| tally.latency_sum_us).collect();
        let latency_max: Vec<i32> = self.minutes.values().map(|tally| tally.latency_max_us).collect();
        let buckets: Vec<i32> = self.minutes.values().flat_map(|tally| tally.buckets).collect();
        debug_assert_eq!(buckets.len(), targets.len() * LATENCY_BUCKETS);
        sqlx::query!(
            "insert into rollup_minute as r (bucket_at, target_id, latency_sum_us, latency_max_us, latency_buckets,
            up, degraded, missed, unknown, down_dns, down_refused, down_timeout, down_reset, down_tls,
            down_protocol, down_body, down_redirect, down_status, down_assertion, class_1xx, class_2xx, class_3xx,
            class_4xx, class_5xx)
            select b.bucket_at, b.target_id, b.latency_sum_us, b.latency_max_us, ($6::int4[])[b.l + 1 : b.l + 24],
            ($5::int4[])[b.o + 1], ($5::int4[])[b.o + 2], ($5::int4[])[b.o + 3], ($5::int4[])[b.o + 4], ($5::int4[])[b.o + 5], ($5::int4[])[b.o + 6], ($5::int4[])[b.o + 7], ($5::int4[])[b.o + 8],
            ($5::int4[])[b.o + 9], ($5::int4[])[b.o + 10], ($5::int4[])[b.o + 11], ($5::int4[])[b.o + 12], ($5::int4[])[b.o + 13], ($5::int4[])[b.o + 14], ($5::int4[])[b.o + 15],
            ($5::int4[])[b.o + 16], ($5::int4[])[b.o + 17], ($5::int4[])[b.o + 18], ($5::int4[])[b.o + 19]
            from (select u.*, (19 * (place - 1))::int4 as o, (24 * (place - 1))::int4 as l
                  from unnest($1::timestamptz[], $2::int4[], $3::int8[], $4::int4[])
                       with ordinality as u (bucket_at, target_id, latency_sum_us, latency_max_us, place)) as b
            on conflict (target_id, bucket_at, location_id) do update set
            latency_sum_us = r.latency_sum_us + excluded.latency_sum_us,
            latency_max_us = greatest(r.latency_max_us, excluded.latency_max_us),
            latency_buckets = add_buckets(r.latency_buckets, excluded.latency_buckets),
            up = r.up + excluded.up, degraded = r.degraded + excluded.degraded, missed = r.missed + excluded.missed,
            unknown = r.unknown + excluded.unknown, down_dns = r.down_dns + excluded.down_dns,
            down_refused = r.down_refused + excluded.down_refused,
            down_timeout = r.down_timeout + excluded.down_timeout, down_reset = r.down_reset + excluded.down_reset,
            down_tls = r.down_tls + excluded.down_tls, down_protocol = r.down_protocol + excluded.down_protocol,
            down_body = r.down_body + excluded.down_body, down_redirect = r.down_redirect + excluded.down_redirect,
            down_status = r.down_status + excluded.down_status,
            down_assertion = r.down_assertion + excluded.down_assertion,
            class_1xx = r.class_1xx + excluded.class_1xx, class_2xx = r.class_2xx + excluded.class_2xx,
            class_3xx = r.class_3xx + excluded.class_3xx, class_4xx = r.class_4xx + excluded.class_4xx,
            class_5xx = r.class_5xx + excluded.class_5xx",
            &bucket_at,
            &targets,
            &latency_sum,
            &latency_max,
            &counts,
            &buckets,
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}

// The statements above spell these numbers out.
const _: () = assert!(COUNTS == 19 && LATENCY_BUCKETS == 24 && Cause::ALL.len() == 10);
