-- The tables of an uptime-kuma 2 that an import reads, with a few monitors:
--   sqlite3 kuma.db < examples/import/kuma.sql && lookout import uptime-kuma kuma.db
create table monitor (
    id integer primary key autoincrement not null,
    name varchar(150),
    active boolean not null default 1,
    user_id integer,
    interval integer not null default 20,
    url text,
    type varchar(20),
    weight integer default 2000,
    hostname varchar(255),
    port integer,
    created_date datetime not null default current_timestamp,
    keyword varchar(255),
    maxretries integer not null default 0,
    ignore_tls boolean not null default 0,
    upside_down boolean not null default 0,
    maxredirects integer not null default 10,
    accepted_statuscodes_json text not null default '["200-299"]',
    retry_interval integer not null default 0,
    push_token varchar(32),
    method text not null default 'GET',
    body text,
    headers text,
    basic_auth_user text,
    basic_auth_pass text,
    proxy_id integer,
    expiry_notification boolean default 1,
    auth_method varchar(250),
    resend_interval integer not null default 0,
    http_body_encoding varchar(25),
    description text,
    parent integer references monitor (id),
    invert_keyword boolean not null default 0,
    json_path text,
    expected_value varchar(255),
    timeout double not null default 0,
    json_path_operator varchar(255),
    cache_bust boolean not null default 0,
    conditions text not null default '[]',
    bearer_token text
);
create table tag (
    id integer primary key autoincrement not null,
    name varchar(255) not null,
    color varchar(255) not null
);
create table monitor_tag (
    id integer primary key autoincrement not null,
    monitor_id integer not null,
    tag_id integer not null,
    value text
);
create table notification (id integer primary key autoincrement not null, name varchar(255), config text);
create table monitor_notification (
    id integer primary key autoincrement not null,
    monitor_id integer not null,
    notification_id integer not null
);

insert into monitor (id, name, type, interval) values (1, 'Shop', 'group', 60);
insert into monitor (id, name, type, interval, parent) values (2, 'Backend', 'group', 60, 1);
insert into monitor (id, name, type, interval, timeout, url, parent, keyword, invert_keyword, expiry_notification)
values (3, 'Front end', 'keyword', 30, 24, 'https://shop.example.org/', 1, 'Sold out', 1, 0);
insert into monitor (id, name, type, interval, timeout, url, parent, json_path, json_path_operator, expected_value,
                     auth_method, bearer_token, expiry_notification, maxretries)
values (4, 'Orders API', 'json-query', 60, 10, 'https://api.example.org/health', 2, 'queue.waiting', '<', '100',
        'bearer', 'not-a-real-token', 0, 3);
insert into monitor (id, name, type, interval, url, method, body, http_body_encoding, headers, accepted_statuscodes_json)
values (5, 'Login', 'http', 120, 'https://login.example.org/', 'POST', 'user=probe&password=not-a-real-password', 'form',
        '{"X-Probe": "yes"}', '["200-299", "302"]');
insert into monitor (id, name, type, interval, hostname, port) values (6, 'Database', 'port', 60, 'db.example.org', 5432);
insert into monitor (id, name, type, interval, url, active) values (7, 'Old shop', 'http', 60, 'https://old.example.org/', 0);
insert into tag (id, name, color) values (1, 'team', '#059669'), (2, 'production', '#DC2626');
insert into monitor_tag (monitor_id, tag_id, value) values (3, 1, 'checkout'), (3, 2, ''), (4, 1, 'orders');
insert into notification (id, name, config) values (1, 'ops', '{}');
insert into monitor_notification (monitor_id, notification_id) values (3, 1);
