-- Who may search, and who may register.
CREATE ROLE regress_vcache_owner;
CREATE ROLE regress_vcache_reader;
GRANT CREATE ON SCHEMA public TO regress_vcache_owner;

SET ROLE regress_vcache_owner;
CREATE TABLE docs (id int PRIMARY KEY, title text, reader name, embedding ruvector(2));
INSERT INTO docs VALUES (1, 'one', 'regress_vcache_reader', '[1,0]'), (2, 'two', 'regress_vcache_owner', '[2,0]');
SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2', payload_columns => '{title}');
SELECT id FROM vcache_search('docs', '[0,0]');

-- A hit is there to be had, but not for everyone.
SET ROLE regress_vcache_reader;
SELECT id FROM vcache_search('docs', '[0,0]');
SELECT vcache_create_namespace('mine', 'docs', 'embedding', metric => 'l2');
SELECT vcache_alter_namespace('docs', '{"ttl": "1 hour"}');
SELECT vcache_drop_namespace('docs');
SELECT vcache_stats_reset();
SELECT vcache_flush();
SELECT * FROM vcache_entries;
SHOW vcache.redis_url;
SET vcache.max_top_k = 5000;

SET ROLE regress_vcache_owner;
GRANT SELECT (id, embedding) ON docs TO regress_vcache_reader;
SET ROLE regress_vcache_reader;
SELECT id FROM vcache_search('docs', '[0,0]');
SET ROLE regress_vcache_owner;
GRANT SELECT ON docs TO regress_vcache_reader;
SET ROLE regress_vcache_reader;
SELECT id FROM vcache_search('docs', '[0,0]');

-- Statistics are for those who may search, or own the source.
SELECT namespace, misses_cold, shared_hits FROM vcache_stats;
SELECT source, triggers_in_place FROM vcache_sources;
SET ROLE regress_vcache_owner;
REVOKE SELECT ON docs FROM regress_vcache_reader;
SELECT namespace, misses_cold, shared_hits FROM vcache_stats;
SET ROLE regress_vcache_reader;
SELECT namespace, misses_cold, shared_hits FROM vcache_stats;
SELECT namespace FROM vcache_stats_rows();
SELECT lookups FROM vcache_stats_total;
SELECT source, triggers_in_place FROM vcache_sources;
SELECT namespace, source FROM vcache_namespaces;
SET ROLE regress_vcache_owner;
GRANT SELECT ON docs TO regress_vcache_reader;

-- Under row-level security each sees its own rows, and nothing is cached.
SET ROLE regress_vcache_owner;
ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON docs USING (reader = current_user);
SELECT id FROM vcache_search('docs', '[0,0]');
SET ROLE regress_vcache_reader;
SELECT id FROM vcache_search('docs', '[0,0]');
SET row_security = off;
SELECT id FROM vcache_search('docs', '[0,0]');
RESET row_security;

SET ROLE regress_vcache_owner;
REVOKE SELECT ON docs FROM regress_vcache_reader;
SET ROLE regress_vcache_reader;
SELECT id FROM vcache_search('docs', '[0,0]');

RESET ROLE;
SELECT lookups, shared_hits, redis_hits, misses, bypasses FROM vcache_stats WHERE namespace = 'docs';
SELECT vcache_stats_reset();
SELECT vcache_drop_namespace('docs');
DROP TABLE docs;
REVOKE ALL ON SCHEMA public FROM regress_vcache_owner;
DROP ROLE regress_vcache_owner, regress_vcache_reader;
DROP EXTENSION vcache;
