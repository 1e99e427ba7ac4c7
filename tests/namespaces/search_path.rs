//! A schema of somebody else's, ahead in the search path or the one that the extension is created in, with objects named like PostgreSQL's own,
//! the engine's and vcache's: nothing of it is ever called.

use harness::{Database, Session, Source, VECTOR};

use crate::stand;

/// Makes the schema `evil`: with the same arguments as in pg_catalog each function, aggregate and operator, which note that they have been
/// called and raise; domains that take no value; tables without a row.
fn make_evil(session: &mut Session) {
    session.run(&format!(
        r#"CREATE SCHEMA IF NOT EXISTS evil;
        CREATE SEQUENCE evil.calls;
        CREATE FUNCTION evil.called(text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS
            $$ BEGIN PERFORM nextval('evil.calls'); RAISE 'evil %', $1; END $$;
        DO $do$
        DECLARE one record; body text; made int := 0;
        BEGIN
            FOR one IN
                SELECT proname, prokind, proretset, pg_get_function_identity_arguments(p.oid) AS arguments,
                       oidvectortypes(proargtypes) AS kinds, prorettype::regtype::text AS result
                FROM pg_proc p
                WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind IN ('f', 'a')
            LOOP
                body := format('$f$ BEGIN PERFORM evil.called(%L); END $f$', one.proname);
                BEGIN
                    IF one.prokind = 'f' THEN
                        EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s %s LANGUAGE plpgsql AS %s', one.proname, one.kinds,
                            CASE WHEN one.proretset THEN 'SETOF' ELSE '' END, one.result, body);
                    ELSE
                        EXECUTE format('CREATE FUNCTION evil.%I(text, %s) RETURNS text LANGUAGE plpgsql AS %s', 'of_' || one.proname, one.kinds, body);
                        EXECUTE format('CREATE AGGREGATE evil.%I(%s) (sfunc = evil.%I, stype = text)', one.proname, one.kinds, 'of_' || one.proname);
                    END IF;
                    made := made + 1;
                EXCEPTION WHEN OTHERS THEN NULL; -- of pseudo-types, or such as only internal functions have
                END;
            END LOOP;
            ASSERT made > 2000, made;
            made := 0;
            FOR one IN
                SELECT o.oid, oprname, oprleft::regtype::text AS l, oprright::regtype::text AS r, oprresult::regtype::text AS result
                FROM pg_operator o WHERE oprkind = 'b' AND oprcode <> 0
            LOOP
                BEGIN
                    EXECUTE format('CREATE FUNCTION evil.%I(%s, %s) RETURNS %s LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.called(%L); END $f$',
                        'operator_' || one.oid, one.l, one.r, one.result, one.oprname);
                    EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.%I)',
                        one.oprname, one.l, one.r, 'operator_' || one.oid);
                    made := made + 1;
                EXCEPTION WHEN OTHERS THEN NULL;
                END;
            END LOOP;
            ASSERT made > 500, made;
            -- Types that fit better than what pg_catalog has for them.
            FOR one IN SELECT * FROM (VALUES ('/', 'float8', 'int8'), ('=', 'numeric', 'int4'), ('=', 'int8', 'numeric'), ('||', 'text', 'name')) v (oprname, l, r) LOOP
                EXECUTE format('CREATE FUNCTION evil.%I(%s, %s) RETURNS bool LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.called(%L); END $f$',
                    'better_' || one.l || one.r, one.l, one.r, one.oprname);
                EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.%I)', one.oprname, one.l, one.r, 'better_' || one.l || one.r);
            END LOOP;
            CREATE FUNCTION evil.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.called('unnest'); END $f$;
            CREATE FUNCTION evil.of_two(text, text, text) RETURNS text LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.called('jsonb_object_agg'); END $f$;
            CREATE AGGREGATE evil.jsonb_object_agg(text, text) (sfunc = evil.of_two, stype = text);
            FOR one IN SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v') LOOP
                EXECUTE format('CREATE TABLE evil.%I ()', one.relname);
            END LOOP;
            FOR one IN SELECT unnest('{{text,name,int2,int4,int8,bool,oid,regclass,float4,float8,numeric,interval,jsonb,{VECTOR},tid,timestamptz}}'::text[]) AS name LOOP
                EXECUTE format('CREATE DOMAIN evil.%I AS pg_catalog.bytea CHECK (false)', one.name);
            END LOOP;
        END $do$"#
    ));
}

/// With the same names as vcache's, and in front of them.
fn make_evil_vcache(session: &mut Session) {
    session.run(
        r#"DO $do$
        DECLARE one record; made int := 0;
        BEGIN
            FOR one IN SELECT proname, oidvectortypes(proargtypes) AS kinds FROM pg_proc WHERE proname ~ '^vcache_' LOOP
                EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS text LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.called(%L); END $f$',
                    one.proname, one.kinds, one.proname);
                made := made + 1;
            END LOOP;
            ASSERT made > 15, made;
            FOR one IN SELECT relname FROM pg_class WHERE relname ~ '^vcache_' AND relkind IN ('r', 'v', 'm') LOOP
                EXECUTE format('CREATE TABLE evil.%I ()', one.relname);
            END LOOP;
        END $do$"#,
    );
}

fn calls(database: &Database) -> i64 {
    database.session().number("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM evil.calls")
}

#[test]
fn nothing_ahead_in_the_search_path_is_called() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 3);
    source.index(&mut session);
    session.run(
        &format!(
            "CREATE TABLE notes (id int PRIMARY KEY, tenant text, embedding {VECTOR}(3)) PARTITION BY LIST (tenant);
         CREATE TABLE notes_acme PARTITION OF notes FOR VALUES IN ('acme');
         INSERT INTO notes VALUES (1, 'acme', '[1,0,0]')"
        )
        .replace("id int PRIMARY KEY, tenant text", "id int, tenant text"),
    );
    let plain = source.plain(&mut session, "[1,2,3]", 10);
    make_evil(&mut session);
    make_evil_vcache(&mut session);
    session.run("CREATE TEMP TABLE docs (id int); CREATE TEMP VIEW vcache_namespace AS SELECT 1 AS x");
    session.run("SET search_path = evil, pg_temp, public, pg_catalog");
    // That it would be called, if a name were left to the path.
    session.fails("SELECT 'a'::pg_catalog.text = 'b'::pg_catalog.text").assert("P0001", &["evil ="]);
    session.fails("SELECT max(id) FROM public.docs").assert("P0001", &["evil max"]);
    session.fails("SELECT vcache_health()").assert("P0001", &["evil vcache_health"]);
    let before = calls(&database);
    assert_eq!(before, 3);

    for call in [
        "create_namespace('docs', 'public.docs', 'embedding', payload_columns => '{title}')",
        "create_namespace('all', 'public.docs', 'embedding', metric => '<->', payload_columns => '{*}', freshness => 'ttl', ttl => '1 min', fetch_k => 30, search_settings => '{\"hnsw.ef_search\": 100}')",
        "create_namespace('notes/*', 'public.notes', 'embedding', id_column => 'id', metric => 'l2', namespace_column => 'tenant')",
        "create_namespace('docs', 'public.docs', 'embedding', metric => 'l2', if_not_exists => true)",
        r#"alter_namespace('docs', '{"ttl": "1 hour", "payload_columns": ["n", "title"], "fetch_k": 20, "metric": null, "id_column": null, "search_settings": {"hnsw.ef_search": 90}}')"#,
        r#"alter_namespace('docs', '{"payload_columns": ["title"], "search_settings": null, "freshness": "exact"}')"#,
    ] {
        session.run(&format!("SELECT public.vcache_{call}"));
    }
    let search = |session: &mut Session| {
        for (vector, rest) in [
            ("'[1,2,3]'::pg_catalog.text", ""),
            ("'[1,2,3]'::pg_catalog.text", ""),
            ("'[1,2,3]'::pg_catalog.text", ", ttl => '0'"),
            ("array[1,2,3]", ""),
        ] {
            let found = session.answer(&format!("SELECT * FROM public.vcache_search('docs', {vector}, 10{rest})"));
            harness::assert_same(&found, &plain, 10);
            session.rows(&format!("SELECT * FROM public.vcache_explain('docs', {vector}, 10{rest})"));
        }
        for namespace in ["all", "notes/acme"] {
            assert!(
                !session
                    .rows(&format!("SELECT * FROM public.vcache_search('{namespace}', '[1,2,3]'::pg_catalog.text)"))
                    .is_empty()
            );
        }
    };
    search(&mut session);
    for statement in [
        // Writes, and what fires with them.
        "INSERT INTO public.docs VALUES (1000, 'x', 1, '[9,9,9]')",
        "UPDATE public.docs SET title = 'y'",
        "INSERT INTO public.notes VALUES (2, 'acme', '[1,0,0]')",
        "DELETE FROM public.notes",
        "INSERT INTO public.notes VALUES (2, 'acme', '[1,0,0]')",
        "CREATE TABLE public.notes_more PARTITION OF public.notes FOR VALUES IN ('more')",
        "INSERT INTO public.notes VALUES (3, 'more', '[1,0,0]')",
        "ALTER TABLE public.docs ADD COLUMN more pg_catalog.text",
        "CREATE TABLE public.child () INHERITS (public.docs)",
        "DROP TABLE public.child",
        "CREATE TYPE public.some AS ENUM ('a')",
        "TRUNCATE public.notes_more",
        "ALTER TABLE public.notes DETACH PARTITION public.notes_more",
        "SELECT public.vcache_invalidate('docs')",
        "SELECT public.vcache_invalidate()",
        "SELECT public.vcache_stats_reset()",
        "SELECT public.vcache_flush()",
    ] {
        session.run(statement);
    }
    search(&mut session);
    for view in ["stats", "stats_total", "namespaces", "sources", "entries", "health()"] {
        assert!(!session.rows(&format!("SELECT * FROM public.vcache_{view}")).is_empty(), "{view}");
    }
    session.run("SELECT public.vcache_drop_namespace('docs'); SELECT public.vcache_drop_namespace('notes/*')");
    session.run("DROP TABLE public.docs");
    session.run("DROP EXTENSION vcache");
    assert_eq!(calls(&database), before);
}

/// What the extension's views, defaults and triggers depend on, and that is neither PostgreSQL's own nor a part of the extension.
fn strangers(session: &mut Session) -> Vec<String> {
    session.column(
        "WITH members AS (SELECT classid, objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' \
             AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vcache')), \
         own AS (SELECT * FROM members UNION SELECT 'pg_rewrite'::regclass, r.oid FROM pg_rewrite r JOIN members m ON m.objid = r.ev_class \
             UNION SELECT 'pg_attrdef'::regclass, a.oid FROM pg_attrdef a JOIN members m ON m.objid = a.adrelid \
             UNION SELECT 'pg_trigger'::regclass, t.oid FROM pg_trigger t JOIN members m ON m.objid = t.tgrelid) \
         SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) || ': ' || pg_describe_object(d.refclassid, d.refobjid, 0) \
         FROM pg_depend d JOIN own o ON (d.classid, d.objid) = (o.classid, o.objid) \
         WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass, 'pg_class'::regclass) AND d.refobjid >= 16384 \
           AND NOT EXISTS (SELECT FROM members m WHERE (m.classid, m.objid) = (d.refclassid, d.refobjid))",
    )
}

#[test]
fn creating_and_updating_the_extension_calls_nothing_that_its_schema_holds() {
    for is_older in [false, true] {
        let database = stand().server.database_without_vcache();
        let mut session = database.session();
        session.run("CREATE SCHEMA evil");
        if is_older {
            session.run("CREATE EXTENSION vcache SCHEMA evil VERSION '0.1.0'");
        }
        make_evil(&mut session);
        // Both the schema that it is created in and the path of who creates it are somebody else's.
        session.run("SET search_path = evil, public, pg_catalog");
        session.run(if is_older { "ALTER EXTENSION vcache UPDATE" } else { "CREATE EXTENSION vcache SCHEMA evil" });
        session.run("RESET search_path");
        assert_eq!(strangers(&mut session), Vec::<String>::new(), "an older one: {is_older}");
        for view in ["stats", "stats_total", "namespaces", "sources", "entries", "health()"] {
            session.rows(&format!("SELECT * FROM evil.vcache_{view}"));
        }
        assert_eq!(calls(&database), 0);
    }
}

#[test]
fn an_object_in_the_way_is_an_error_and_never_made_part_of_the_extension() {
    let database = stand().server.database_without_vcache();
    let attacker = database.role("attacker", "");
    let mut superuser = database.session();
    superuser.run(&format!("GRANT CREATE ON SCHEMA public TO {attacker}"));
    let mut attackers = database.session_as(&attacker);
    for (make, drop) in [
        ("CREATE TABLE vcache_namespace (x int)", "DROP TABLE vcache_namespace"),
        ("CREATE VIEW vcache_stats AS SELECT 1 AS x", "DROP VIEW vcache_stats"),
        ("CREATE TABLE vcache_secret (secret bytea)", "DROP TABLE vcache_secret"),
        (
            "CREATE FUNCTION vcache_flush() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'",
            "DROP FUNCTION vcache_flush()",
        ),
        (
            "CREATE FUNCTION vcache_source_changed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "DROP FUNCTION vcache_source_changed()",
        ),
        ("CREATE TYPE vcache_namespace AS (x int)", "DROP TYPE vcache_namespace"),
    ] {
        attackers.run(make);
        superuser.fails("CREATE EXTENSION vcache").assert("42", &["already exists"]);
        assert_eq!(superuser.number("SELECT count(*) FROM pg_extension WHERE extname = 'vcache'"), 0);
        attackers.run(drop);
    }
    superuser.run("BEGIN; SET LOCAL search_path = public, pg_catalog; CREATE EXTENSION vcache");
    // The script's own path ends with it.
    assert_eq!(superuser.value("SHOW search_path"), "public, pg_catalog");
    superuser.run("COMMIT");
    // Nobody else creates it, or writes to what it has made.
    superuser.run("DROP EXTENSION vcache");
    superuser.run(&format!("GRANT ALL ON DATABASE {} TO {attacker}", database.name()));
    attackers.fails("CREATE EXTENSION vcache").assert("42501", &["vcache"]);
}
