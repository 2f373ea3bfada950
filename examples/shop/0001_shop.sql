create table orders (id text primary key, customer text not null, cents bigint not null, paid boolean not null default false);
create table customers (name text primary key, orders bigint not null, cents bigint not null);
create table days (day date primary key, cents bigint not null);
