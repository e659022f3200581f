//! `GET /badge/{key}/{window}.svg`: the uptime of a target, as a picture for other pages.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use chrono::{TimeDelta, Utc};
use store::overview;
use store::windows::{Scope, Which};

use super::parameters;
use super::targets::WINDOWS;
use crate::answer::is_known;
use crate::assets::fingerprint;
use crate::config::ListenSettings;
use crate::counts;
use crate::error::ApiError;
use crate::guard::may_read_all;
use crate::openapi::{AsksPostgres, NotFound};
use crate::public::{status, text};
use crate::state::{PATIENCE, State, within};

/// Windows beside those of the dashboard.
const LONG_WINDOWS: [(&str, TimeDelta); 3] =
    [("7d", TimeDelta::days(7)), ("30d", TimeDelta::days(30)), ("90d", TimeDelta::days(90))];

/// From this uptime on a badge is green, and amber, in thousandths of a percent.
const GREEN: u64 = 99_000;
const AMBER: u64 = 95_000;

/// The uptime of a target, as a picture
///
/// The share of the verdicts that were up or degraded in a window that ends now, cut off after
/// two decimals; `no data` without a verdict. What `/api/v1/summary` counts over the same window.
/// As open as reading is; where `PUBLIC_PAGE` is on, anybody may see those of the targets
/// that the public page shows.
#[utoipa::path(
    get,
    path = "/badge/{key}/{window}.svg",
    operation_id = "badge",
    tag = "Public",
    params(
        ("key" = String, Path, description = "The key of a target; percent-encoded, if it is a URL", example = "home"),
        ("window" = String, Path, description = "`1m`, `5m`, `15m`, `1h`, `24h`, `7d`, `30d` or `90d`", example = "30d"),
    ),
    responses(
        (status = 200, description = "The badge", body = String, content_type = "image/svg+xml"),
        (status = 304, description = "The badge is that of `If-None-Match`"),
        NotFound,
        AsksPostgres
    )
)]
pub(super) async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    settings: web::Data<ListenSettings>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (key, window) = path.into_inner();
    let known = WINDOWS.into_iter().chain(LONG_WINDOWS).find(|(name, _)| *name == window);
    let (window, length) = known.ok_or_else(|| {
        ApiError::NotFound("badges are of 1m, 5m, 15m, 1h, 24h, 7d, 30d and 90d, like 24h.svg".to_owned())
    })?;
    let is_reader = may_read_all(&request, &settings);
    let (uptime, is_shown) = within(PATIENCE, async {
        let mut connection = state.database().await?;
        let row = overview::list(&mut connection, "", Some(&key), 1).await?.pop();
        // One that the public page leaves out is not there at all.
        let row = row.filter(|row| is_reader || status::is_public(&row.labels));
        let row = row.ok_or_else(|| parameters::nobody(Which::Key(&key)))?;
        let rate = 1000.0 / f64::from(row.interval_ms);
        let scope = Scope { targets: Some(vec![row.target_id.0]), active: 1, rate };
        let hours_until = store::rollups::done_until(&mut connection).await?;
        let (_, measure) = counts::window(&mut connection, &scope, Utc::now(), length, hours_until).await?;
        Ok((measure.uptime(), status::is_public(&row.labels)))
    })
    .await?;
    let svg = Badge::new(window, uptime).render().unwrap_or_default();
    let tag = format!("W/\"{}\"", fingerprint(svg.as_bytes()));
    // One for whoever has the token is nobody else's.
    let is_public = settings.public_read || (settings.public_page && is_shown);
    let mut response = HttpResponse::Ok();
    response
        .insert_header((ETAG, tag.as_str()))
        .insert_header((CACHE_CONTROL, if is_public { "public, max-age=30" } else { "private, max-age=30" }))
        .insert_header((CONTENT_SECURITY_POLICY, "default-src 'none'"));
    if is_known(request.headers(), &tag) {
        return Ok(response.status(actix_web::http::StatusCode::NOT_MODIFIED).finish());
    }
    Ok(response.content_type("image/svg+xml").body(svg))
}

/// White on each of its grounds has a contrast of 4.5 or more.
#[derive(Template)]
#[template(path = "badge.svg")]
struct Badge {
    label: String,
    value: String,
    ground: &'static str,
}

impl Badge {
    fn new(window: &str, uptime: Option<u64>) -> Self {
        Self {
            label: format!("uptime {window}"),
            value: uptime.map_or_else(|| "no data".to_owned(), text::percent),
            ground: match uptime {
                None => "#5b6470",
                Some(GREEN..) => "#176f37",
                Some(AMBER..) => "#8a5300",
                Some(_) => "#b3201a",
            },
        }
    }

    /// What a text of 11 pixels takes at most, in a font as wide as Verdana.
    fn width(&self, text: &str) -> usize {
        text.chars().count() * 7 + 10
    }
}
