-- Every form of a vector is the same vector: one miss, and hits from then on.
CREATE TABLE docs (id int PRIMARY KEY, embedding ruvector(3));
INSERT INTO docs VALUES (1, '[1,2,3]'), (2, '[3,2,1]'), (3, '[-1,0,1]');
SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'l2');
SELECT vcache_stats_reset();

SELECT id, round(distance::numeric, 3) AS distance FROM vcache_search('docs', '[1,2,3]', 2);
SELECT id, round(distance::numeric, 3) AS distance FROM vcache_search('docs', '{1,2,3}', 2);
SELECT id FROM vcache_search('docs', ' [ 1.0, 2e0 , 30e-1 ] ', 1);
SELECT id FROM vcache_search('docs', '[1.0000000000000000e+00,2.0000000000000000e+00,3.0000000000000000e+00]'::text, 1);
SELECT id FROM vcache_search('docs', ARRAY[1,2,3], 1);
SELECT id FROM vcache_search('docs', ARRAY[1,2,3]::int2[], 1);
SELECT id FROM vcache_search('docs', ARRAY[1,2,3]::int8[], 1);
SELECT id FROM vcache_search('docs', ARRAY[1,2,3]::real[], 1);
SELECT id FROM vcache_search('docs', ARRAY[1,2,3]::float8[], 1);
SELECT id FROM vcache_search('docs', ARRAY[1.0,2.00,3], 1);
SELECT id FROM vcache_search('docs', '[1,2,3]'::ruvector, 1);
SELECT id FROM vcache_search('docs', (SELECT embedding FROM docs WHERE id = 1), 1);
SELECT lookups, shared_hits, redis_hits, misses FROM vcache_stats WHERE namespace = 'docs';

-- Minus zero is zero; what differs in the last place is another vector.
SELECT vcache_stats_reset();
SELECT id FROM vcache_search('docs', '[0,-1,0]', 1);
SELECT id FROM vcache_search('docs', '[-0,-1,-0.0]', 1);
SELECT id FROM vcache_search('docs', '{-0,-1,0}'::float8[], 1);
SELECT id FROM vcache_search('docs', '[0,-1,1e-45]', 1);
SELECT id FROM vcache_search('docs', '[0,-1.0000001,0]', 1);
SELECT lookups, shared_hits, redis_hits, misses FROM vcache_stats WHERE namespace = 'docs';

-- An entry of K rows answers every smaller number.
SELECT vcache_stats_reset();
SELECT count(*) FROM vcache_search('docs', '[5,5,5]', 20);
SELECT count(*) FROM vcache_search('docs', '[5,5,5]', 1);
SELECT count(*) FROM vcache_search('docs', '[5,5,5]', 21);
SELECT count(*) FROM vcache_search('docs', '[5,5,5]', 50);
SELECT lookups, shared_hits, redis_hits, misses FROM vcache_stats WHERE namespace = 'docs';

SELECT vcache_stats_reset();
SELECT vcache_drop_namespace('docs');
DROP TABLE docs;
