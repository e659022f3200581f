-- A worker whose process was found dead by the next one on its directory, which ends its leases at once. Then
-- stopped_at is when that was.

alter table worker add column crashed boolean not null default false;
