//! What is different between two versions of a target or a service, in names of
//! fields: values may be secrets.

use crate::{ServiceSpec, TargetSpec};

impl TargetSpec {
    /// The fields in which `other` differs, by their names in the file.
    pub fn changed_fields(&self, other: &Self) -> Vec<&'static str> {
        // Named one by one, so that a new field cannot be forgotten here.
        let Self {
            key,
            name,
            url,
            method,
            headers,
            body,
            interval,
            timeout,
            degraded_after,
            expect_status,
            expect,
            connection,
            labels,
            service,
            source,
        } = self;
        let fields = [
            ("key", *key != other.key),
            ("name", *name != other.name),
            ("url", *url != other.url),
            ("method", *method != other.method),
            ("headers", *headers != other.headers),
            ("body", *body != other.body),
            ("interval", *interval != other.interval),
            ("timeout", *timeout != other.timeout),
            ("degraded_after", *degraded_after != other.degraded_after),
            ("expect_status", *expect_status != other.expect_status),
            ("expect", *expect != other.expect),
            ("connection", *connection != other.connection),
            ("labels", *labels != other.labels),
            ("service", *service != other.service),
            ("source", *source != other.source),
        ];
        fields.into_iter().filter_map(|(name, is_changed)| is_changed.then_some(name)).collect()
    }
}

impl ServiceSpec {
    /// The fields in which `other` differs, by their names in the file.
    pub fn changed_fields(&self, other: &Self) -> Vec<&'static str> {
        let Self { name, owner_name, owner_email, goal, endpoints } = self;
        let fields = [
            ("name", *name != other.name),
            ("owner", (owner_name, owner_email) != (&other.owner_name, &other.owner_email)),
            ("objective", goal.objective_nano != other.goal.objective_nano),
            ("window", goal.window != other.goal.window),
            ("endpoints", *endpoints != other.endpoints),
        ];
        fields.into_iter().filter_map(|(name, is_changed)| is_changed.then_some(name)).collect()
    }
}
