-- Slots that a worker lost to its own faults, since its process started: beside
-- missed, because they have another cause and another remedy.

alter table worker add column unknown int8 not null default 0;
