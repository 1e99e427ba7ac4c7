-- The tables of vcache. Searches read them by their indexes, without SPI, so the order of columns is known to
-- src/namespace/mod.rs and src/key.rs.

-- A row is a namespace. Its name is prefix, or prefix || '*' for a pattern.
CREATE TABLE @extschema@.vcache_namespace (
    is_pattern       boolean NOT NULL,
    prefix           text COLLATE "C" NOT NULL,
    revision         bigint NOT NULL,
    source           regclass NOT NULL,
    vector_column    name NOT NULL,
    id_column        name NOT NULL,
    metric           text NOT NULL,
    payload_columns  name[],
    namespace_column name,
    freshness        text NOT NULL,
    ttl              interval,
    fetch_k          integer,
    search_settings  text[],
    PRIMARY KEY (is_pattern, prefix)
);

-- A dump carries the namespaces whose source is there: it would write that of another as a number, which may be some other table's where
-- the dump is restored.
SELECT pg_catalog.pg_extension_config_dump(
    '@extschema@.vcache_namespace',
    'WHERE source::pg_catalog.oid IN (SELECT oid FROM pg_catalog.pg_class)'
);

-- The database's secret, which seeds the hash of every key: 192 random bytes, drawn anew by every CREATE EXTENSION and carried
-- by no dump, so that a restored or re-created extension meets none of its old entries.
CREATE TABLE @extschema@.vcache_secret (secret bytea NOT NULL);

INSERT INTO @extschema@.vcache_secret
SELECT pg_catalog.decode(
    pg_catalog.string_agg(pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''), ''), 'hex')
FROM pg_catalog.generate_series(1, 12);
