//! Which service the endpoint of a target belongs to.

use common::TargetSpec;
use sqlx::PgConnection;

use crate::StoreError;
use crate::targets::Placed;

/// Makes each target an endpoint (its method and key) of its service: the one it
/// names, else the one it has, else one of its own name. Objectives stay as they are.
///
/// # Errors
/// Whatever Postgres reports.
pub(crate) async fn bind(
    connection: &mut PgConnection,
    list: &[TargetSpec],
    placed: &[Placed],
) -> Result<(), StoreError> {
    let targets: Vec<i32> = placed.iter().map(|placed| placed.target_id.0).collect();
    let verbs: Vec<String> = list.iter().map(|target| target.method.as_str().to_owned()).collect();
    let keys: Vec<String> = list.iter().map(|target| target.key.clone()).collect();
    let services: Vec<String> =
        list.iter().map(|target| target.service.as_ref().unwrap_or(&target.name).clone()).collect();
    sqlx::query!(
        "insert into service (name)
         select distinct u.name from unnest($1::text[]) as u (name)
         where not exists (select from service s where s.name = u.name)
         order by 1 on conflict do nothing",
        &services,
    )
    .execute(&mut *connection)
    .await?;
    // One that was posted to before and is a target now gains the checks.
    sqlx::query!(
        "insert into endpoint (service_id, verb, resource, target_id)
         select s.service_id, u.verb, u.resource, u.target_id
         from unnest($1::int4[], $2::text[], $3::text[], $4::text[]) as u (target_id, verb, resource, service)
         join service s on s.name = u.service
         where not exists (select from endpoint e where e.target_id = u.target_id)
         order by u.verb, u.resource
         on conflict (verb, resource) do update set target_id = excluded.target_id, updated_at = clock_timestamp()",
        &targets,
        &verbs,
        &keys,
        &services,
    )
    .execute(&mut *connection)
    .await?;
    let named: Vec<bool> = list.iter().map(|target| target.service.is_some()).collect();
    // Another method is another verb of the same endpoint, unless that one exists.
    sqlx::query!(
        "update endpoint e set verb = u.verb, service_id = case when u.named then s.service_id else e.service_id end,
             updated_at = clock_timestamp()
         from unnest($1::int4[], $2::text[], $3::text[], $4::text[], $5::bool[])
              as u (target_id, verb, resource, service, named)
         join service s on s.name = u.service
         where e.target_id = u.target_id and e.resource = u.resource
           and (e.verb <> u.verb or (u.named and e.service_id <> s.service_id))
           and not exists (select from endpoint o
                           where o.verb = u.verb and o.resource = u.resource and o.endpoint_id <> e.endpoint_id)",
        &targets,
        &verbs,
        &keys,
        &services,
        &named,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives the endpoints of those targets that name no service to the services of their own
/// names, which [`bind`] has made. What somebody declared for an endpoint holds.
///
/// # Errors
/// Whatever Postgres reports.
pub(crate) async fn give_back(
    connection: &mut PgConnection,
    targets: impl Iterator<Item = &TargetSpec>,
) -> Result<(), StoreError> {
    let unnamed: Vec<_> = targets.filter(|target| target.service.is_none()).collect();
    let verbs: Vec<String> = unnamed.iter().map(|target| target.method.as_str().to_owned()).collect();
    let keys: Vec<String> = unnamed.iter().map(|target| target.key.clone()).collect();
    let names: Vec<String> = unnamed.iter().map(|target| target.name.clone()).collect();
    // Index: endpoint_verb_resource_unique.
    sqlx::query!(
        "update endpoint e set service_id = s.service_id, updated_at = clock_timestamp()
         from unnest($1::text[], $2::text[], $3::text[]) as u (verb, resource, service)
         join service s on s.name = u.service
         where e.verb = u.verb and e.resource = u.resource and e.target_id is not null
           and e.declared_by is null and e.service_id <> s.service_id",
        &verbs,
        &keys,
        &names,
    )
    .execute(connection)
    .await?;
    Ok(())
}
