-- Namespaces: created, shown, altered, dropped, and what is refused.
CREATE TABLE docs (id int PRIMARY KEY, title text, year int, embedding ruvector(3));
INSERT INTO docs VALUES (1, 'one', 2001, '[1,0,0]'), (2, 'two', 2002, '[2,0,0]'), (3, 'three', NULL, '[3,0,0]');

-- The metric: said, or taken from the column's index.
SELECT vcache_create_namespace('docs', 'docs', 'embedding');
SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2');
CREATE INDEX docs_cosine ON docs USING hnsw (embedding ruvector_cosine_ops);
SELECT vcache_create_namespace('by index', 'docs', 'embedding');
CREATE INDEX docs_l2 ON docs USING hnsw (embedding);
SELECT vcache_create_namespace('two indexes', 'docs', 'embedding');
SELECT vcache_create_namespace('by operator', 'docs', 'embedding', metric => '<#>', payload_columns => '{*}', ttl => '1 hour');

SELECT * FROM vcache_namespaces ORDER BY namespace;

-- The same name twice.
SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2');
SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2', if_not_exists => true);

-- Options: what is present is set, a null resets it.
SELECT vcache_alter_namespace('docs', '{"payload_columns": ["title", "year"], "ttl": "90 seconds", "fetch_k": 50}');
SELECT payload_columns, ttl, fetch_k FROM vcache_namespaces WHERE namespace = 'docs';
SELECT id, payload FROM vcache_search('docs', '[0,0,0]');
SELECT vcache_alter_namespace('docs', '{"ttl": null, "search_settings": {"ruvector.hnsw_ef_search": 100}}');
SELECT payload_columns, ttl, fetch_k, search_settings FROM vcache_namespaces WHERE namespace = 'docs';

-- What is refused.
SELECT vcache_alter_namespace('docs', '{"colour": "red"}');
SELECT vcache_alter_namespace('docs', '{"fetch_k": 0}');
SELECT vcache_alter_namespace('docs', '["ttl"]');
SELECT vcache_alter_namespace('docs', '{"search_settings": {"work_mem": "1GB"}}');
SELECT vcache_alter_namespace('nowhere', '{}');
SELECT vcache_create_namespace('x', 'docs', 'nothing', metric => 'l2');
SELECT vcache_create_namespace('x', 'docs', 'title', metric => 'l2');
SELECT vcache_create_namespace('x', 'docs', 'embedding', metric => 'hamming');
SELECT vcache_create_namespace('x', 'docs', 'embedding', metric => 'l1');
SELECT vcache_create_namespace('x', 'docs', 'embedding', metric => 'l2', id_column => 'nothing');
SELECT vcache_create_namespace('x', 'docs', 'embedding', metric => 'l2', payload_columns => '{title,nothing}');
SELECT vcache_create_namespace('x', 'docs', 'embedding', metric => 'l2', namespace_column => 'nothing');
SELECT vcache_create_namespace('x', 'docs', 'embedding', metric => 'l2', freshness => 'fresh');
SELECT vcache_create_namespace('x', 'docs', 'embedding', metric => 'l2', fetch_k => 0);
SELECT vcache_create_namespace('x', 'docs', 'embedding', metric => 'l2', search_settings => '{"role": "postgres"}');
SELECT vcache_create_namespace('x', 'docs', 'embedding', metric => 'l2', search_settings => '{"ruvector.hnsw_ef_search": "many"}');
SELECT vcache_create_namespace(NULL, 'docs', 'embedding', metric => 'l2');
SELECT vcache_create_namespace('', 'docs', 'embedding', metric => 'l2');
SELECT vcache_create_namespace('x', NULL, 'embedding', metric => 'l2');
SELECT vcache_create_namespace('x', 'docs_pkey', 'embedding', metric => 'l2');
CREATE TEMP TABLE mine (id int PRIMARY KEY, embedding ruvector(3));
SELECT vcache_create_namespace('x', 'mine', 'embedding', metric => 'l2');
DROP TABLE mine;
CREATE TABLE pair (a int, b int, embedding ruvector(3), PRIMARY KEY (a, b));
SELECT vcache_create_namespace('x', 'pair', 'embedding', metric => 'l2');
DROP TABLE pair;

-- Transactions.
BEGIN;
SELECT vcache_create_namespace('brief', 'docs', 'embedding', metric => 'l2');
SELECT count(*) FROM vcache_search('brief', '[0,0,0]');
ROLLBACK;
SELECT count(*) FROM vcache_search('brief', '[0,0,0]');

-- Dropped.
SELECT vcache_drop_namespace('nowhere');
SELECT vcache_drop_namespace('nowhere', if_exists => true);
SELECT vcache_drop_namespace(namespace) FROM vcache_namespaces ORDER BY namespace;
SELECT * FROM vcache_search('docs', '[0,0,0]');
DROP TABLE docs;
