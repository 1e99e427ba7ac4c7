-- What a search refuses, in its own words.
CREATE TABLE docs (id int PRIMARY KEY, embedding ruvector(3));
INSERT INTO docs VALUES (1, '[1,2,3]');
SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2');

-- The wrong dimension.
SELECT * FROM vcache_search('docs', '[1,2]');
SELECT * FROM vcache_search('docs', '{1,2,3,4}'::int[]);
SELECT * FROM vcache_search('docs', '[1,2]'::ruvector);
-- No numbers.
SELECT * FROM vcache_search('docs', '[1,NaN,3]');
SELECT * FROM vcache_search('docs', '[1,2,-Infinity]');
SELECT * FROM vcache_search('docs', '[1e39,2,3]');
SELECT * FROM vcache_search('docs', '{NaN,2,3}'::float8[]);
SELECT * FROM vcache_search('docs', '{1,2,Infinity}'::real[]);
SELECT * FROM vcache_search('docs', '{1,2,1e300}'::float8[]);
SELECT * FROM vcache_search('docs', '{1,2,NaN}'::numeric[]);
SELECT * FROM vcache_search('docs', '{1,NULL,3}'::int[]);
-- Nothing.
SELECT * FROM vcache_search('docs', NULL::text);
SELECT * FROM vcache_search('docs', NULL::real[]);
SELECT * FROM vcache_search('docs', '');
SELECT * FROM vcache_search('docs', '[]');
SELECT * FROM vcache_search('docs', '{}'::int[]);
-- Malformed.
SELECT * FROM vcache_search('docs', '1,2,3');
SELECT * FROM vcache_search('docs', '[1,2,3');
SELECT * FROM vcache_search('docs', '[1,2,three]');
SELECT * FROM vcache_search('docs', '[1,,3]');
SELECT * FROM vcache_search('docs', '[1,2,3] and more');
SELECT * FROM vcache_search('docs', '{{1,2,3}}'::int[]);
-- Types that are no vectors.
SELECT * FROM vcache_search('docs', 1);
SELECT * FROM vcache_search('docs', '{a,b,c}'::text[]);
SELECT * FROM vcache_search('docs', '[1,2,3]'::jsonb);
-- Numbers of rows.
SELECT * FROM vcache_search('docs', '[1,2,3]', 0);
SELECT * FROM vcache_search('docs', '[1,2,3]', -1);
SELECT * FROM vcache_search('docs', '[1,2,3]', 1001);
SELECT * FROM vcache_search('docs', '[1,2,3]', NULL);
-- A ttl.
SELECT * FROM vcache_search('docs', '[1,2,3]', 1, '-1 second');
-- A namespace.
SELECT * FROM vcache_search('nowhere', '[1,2,3]');
SELECT * FROM vcache_search(NULL, '[1,2,3]');

-- The session goes on.
SELECT * FROM vcache_search('docs', '[1,2,3]');
SELECT lookups = shared_hits + redis_hits + misses + bypasses AS adds_up, stores FROM vcache_stats WHERE namespace = 'docs';
SELECT vcache_stats_reset();
SELECT vcache_drop_namespace('docs');
DROP TABLE docs;
