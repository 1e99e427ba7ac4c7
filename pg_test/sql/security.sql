-- Who may see what: a hit never shows a row that its caller could not have read.
CREATE ROLE regress_vcache_alice;
CREATE ROLE regress_vcache_bob;
CREATE ROLE regress_vcache_team;
GRANT regress_vcache_team TO regress_vcache_bob;
CREATE SCHEMA library;
GRANT USAGE ON SCHEMA library TO regress_vcache_alice, regress_vcache_bob;
CREATE TABLE library.docs (id int PRIMARY KEY, title text, tenant text, embedding ruvector(2));
INSERT INTO library.docs VALUES (1, 'one', 'a', '[1,0]'), (2, 'two', 'b', '[2,0]'), (3, 'three', 'a', '[3,0]'), (4, 'four', 'b', '[4,0]');
SELECT vcache_create_namespace('docs', 'library.docs', 'embedding', metric => 'l2', payload_columns => '{title}', filter_columns => '{tenant}');
SELECT vcache_stats_reset();

-- There is an entry.
SELECT id, payload FROM vcache_search('docs', '[0,0]', 3);
SELECT outcome, tier FROM vcache_explain('docs', '[0,0]', 3);

-- Privileges are those of the plain query, on every call: GRANT works on the very next one, and so does REVOKE.
SET ROLE regress_vcache_alice;
SELECT id FROM vcache_search('docs', '[0,0]', 3);
SELECT id FROM library.docs ORDER BY embedding <-> '[0,0]' LIMIT 3;
SELECT outcome, tier FROM vcache_explain('docs', '[0,0]', 3);
RESET ROLE;
GRANT SELECT ON library.docs TO regress_vcache_alice;
SET ROLE regress_vcache_alice;
SELECT id FROM vcache_search('docs', '[0,0]', 3);
RESET ROLE;
REVOKE SELECT ON library.docs FROM regress_vcache_alice;
SET ROLE regress_vcache_alice;
SELECT id FROM vcache_search('docs', '[0,0]', 3);
RESET ROLE;

-- On columns: the vector, the id, the payload, and what a filter names.
SELECT count(*) FROM vcache_search('docs', '[0,0]', 3, filter => '{"tenant": "a"}');
GRANT SELECT (id, title, embedding) ON library.docs TO regress_vcache_alice;
SET ROLE regress_vcache_alice;
SELECT count(*) FROM vcache_search('docs', '[0,0]', 3);
SELECT count(*) FROM vcache_search('docs', '[0,0]', 3, filter => '{"tenant": "a"}');
RESET ROLE;
GRANT SELECT (tenant) ON library.docs TO regress_vcache_alice;
SET ROLE regress_vcache_alice;
SELECT count(*) FROM vcache_search('docs', '[0,0]', 3, filter => '{"tenant": "a"}');
RESET ROLE;
REVOKE SELECT (title) ON library.docs FROM regress_vcache_alice;
SET ROLE regress_vcache_alice;
SELECT count(*) FROM vcache_search('docs', '[0,0]', 3);
RESET ROLE;

-- On the schema.
GRANT SELECT ON library.docs TO regress_vcache_alice;
REVOKE USAGE ON SCHEMA library FROM regress_vcache_alice;
SET ROLE regress_vcache_alice;
SELECT id FROM vcache_search('docs', '[0,0]', 3);
RESET ROLE;
GRANT USAGE ON SCHEMA library TO regress_vcache_alice;

-- By membership, and no longer.
GRANT SELECT ON library.docs TO regress_vcache_team;
SET ROLE regress_vcache_bob;
SELECT count(*) FROM vcache_search('docs', '[0,0]', 3);
RESET ROLE;
REVOKE regress_vcache_team FROM regress_vcache_bob;
SET ROLE regress_vcache_bob;
SELECT count(*) FROM vcache_search('docs', '[0,0]', 3);

-- The current role counts: a function SECURITY DEFINER lends its owner's rights, a view over vcache_search lends nothing.
RESET ROLE;
CREATE FUNCTION lent() RETURNS TABLE (id text) SECURITY DEFINER SET search_path = public LANGUAGE sql
    AS $$ SELECT id FROM vcache_search('docs', '[0,0]', 3) $$;
ALTER FUNCTION lent OWNER TO regress_vcache_alice;
CREATE VIEW seen AS SELECT id FROM vcache_search('docs', '[0,0]', 3);
GRANT SELECT ON seen TO regress_vcache_bob;
SET ROLE regress_vcache_bob;
SELECT count(*) FROM lent();
SELECT count(*) FROM seen;
RESET ROLE;

-- All that was answered but the first search of each filter was found in the cache.
SELECT lookups, shared_hits + redis_hits AS hits, misses, bypasses FROM vcache_stats WHERE namespace = 'docs';

-- Row-level security: each sees its own rows, though an entry with all of them is there. Nothing of it is cached.
ALTER TABLE library.docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON library.docs USING (tenant = current_setting('app.tenant', true));
SELECT vcache_stats_reset();
SELECT id FROM vcache_search('docs', '[0,0]', 3);
SET ROLE regress_vcache_alice;
SELECT id FROM vcache_search('docs', '[0,0]', 3);
SET app.tenant = 'a';
SELECT id FROM vcache_search('docs', '[0,0]', 3);
SET app.tenant = 'b';
SELECT id FROM vcache_search('docs', '[0,0]', 3);
SELECT outcome, reason FROM vcache_explain('docs', '[0,0]', 3);

-- What would be affected by it, and must not be, is refused: to those who may not read at all as well, in PostgreSQL's own order.
SET row_security = off;
SELECT id FROM vcache_search('docs', '[0,0]', 3);
SET ROLE regress_vcache_bob;
SELECT id FROM vcache_search('docs', '[0,0]', 3);
SELECT id FROM library.docs ORDER BY embedding <-> '[0,0]' LIMIT 3;
RESET row_security;
SELECT id FROM vcache_search('docs', '[0,0]', 3);

-- Who is above it has the cache, and who no longer is has not.
RESET ROLE;
ALTER ROLE regress_vcache_alice BYPASSRLS;
SET ROLE regress_vcache_alice;
SELECT id FROM vcache_search('docs', '[0,0]', 3);
RESET ROLE;
ALTER ROLE regress_vcache_alice NOBYPASSRLS;
ALTER POLICY own ON library.docs USING (tenant = 'a');
SET ROLE regress_vcache_alice;
SELECT id FROM vcache_search('docs', '[0,0]', 3);
RESET ROLE;

-- Nor has the owner whom it is forced upon.
ALTER TABLE library.docs OWNER TO regress_vcache_alice;
ALTER TABLE library.docs FORCE ROW LEVEL SECURITY;
SET ROLE regress_vcache_alice;
SELECT id FROM vcache_search('docs', '[0,0]', 3);
ALTER TABLE library.docs NO FORCE ROW LEVEL SECURITY;
SELECT id FROM vcache_search('docs', '[0,0]', 3);
RESET ROLE;
SELECT lookups = shared_hits + redis_hits + misses + bypasses AS adds_up, bypasses, bypasses_row_security FROM vcache_stats
    WHERE namespace = 'docs';

SELECT vcache_stats_reset();
SELECT vcache_drop_namespace('docs');
DROP FUNCTION lent;
DROP VIEW seen;
DROP SCHEMA library CASCADE;
RESET app.tenant;
DROP ROLE regress_vcache_alice, regress_vcache_bob, regress_vcache_team;
