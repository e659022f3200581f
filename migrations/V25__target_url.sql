-- A URL may be longer than what a B-tree takes, and is only ever asked for as a whole.

set local lock_timeout = '10s';

drop index target_url;
create index target_url on target using hash (url);
