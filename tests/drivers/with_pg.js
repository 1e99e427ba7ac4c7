// node-postgres: parameters as text, statements with a name, payloads as objects; with pgvector's toSql and without.

const assert = require('node:assert/strict');
const { Client, Pool } = require('pg');
const pgvector = require('pgvector/pg');

const SEARCH = 'SELECT id, distance, payload FROM vcache_search($1, $2, $3)';
const VECTOR = process.env.VECTOR_TYPE;
// Its connections stay open until the end.
const pool = new Pool({ max: 2 });

// Doubles, as models give them: each has more digits than a real.
function randomVector(seed) {
    const element = (n) => Math.sin(seed * 1000 + n) * Math.cos(seed * 7 + n * 3);
    return Array.from({ length: 8 }, (_, n) => element(n + 1));
}

async function plain(vector, topK) {
    const distance = `embedding <-> $1::${VECTOR}`;
    const { rows } = await pool.query(
        `SELECT id::text, (${distance})::float8 AS distance, jsonb_build_object('title', title) AS payload
         FROM docs ORDER BY ${distance} LIMIT $2`,
        [JSON.stringify(vector), topK],
    );
    return rows;
}

// Asserts what the searches inside are counted as: hits, misses, bypasses.
async function counts(expected, inside) {
    const counted = async () => {
        const { rows } = await pool.query('SELECT (shared_hits + redis_hits)::int AS hits, misses::int, bypasses::int FROM vcache_stats_total');
        return rows[0];
    };
    const before = await counted();
    await inside();
    const after = await counted();
    const difference = Object.fromEntries(Object.keys(after).map((name) => [name, after[name] - before[name]]));
    assert.deepEqual(difference, { hits: 0, misses: 0, bypasses: 0, ...expected });
}

const tests = {
    async 'a search'() {
        const vector = randomVector(1);
        for (const expected of [{ misses: 1 }, { hits: 1 }]) {
            await counts(expected, async () => {
                const { rows } = await pool.query(
                    'SELECT id, distance, payload FROM vcache_search($1, $2, $3)',
                    ['documents', JSON.stringify(vector), 10],
                );
                assert.deepEqual(rows, await plain(vector, 10));
                assert.deepEqual([typeof rows[0].id, typeof rows[0].distance, typeof rows[0].payload], ['string', 'number', 'object']);
            });
        }
    },

    async 'every form is one entry'() {
        const vector = randomVector(2);
        const forms = [
            ['$2', JSON.stringify(vector)],
            ['$2', vector],
            ['$2', `{${vector.join(',')}}`],
            ['$2', pgvector.toSql(vector)],
            ['$2', Array.from(new Float32Array(vector))],
            ['$2::real[]', vector],
            ['$2::float8[]', vector],
            ['$2::numeric[]', vector],
            [`$2::${VECTOR}`, JSON.stringify(vector)],
        ];
        await counts({ misses: 1, hits: forms.length - 1 }, async () => {
            for (const [place, value] of forms) {
                const { rows } = await pool.query(SEARCH.replace('$2', place), ['documents', value, 5]);
                assert.deepEqual(rows, await plain(vector, 5), place);
            }
        });
    },

    async 'statements with a name'() {
        const client = new Client();
        await client.connect();
        await counts({ misses: 4, hits: 16 }, async () => {
            for (let number = 0; number < 20; number++) {
                const vector = randomVector(100 + (number % 4));
                const { rows } = await client.query({
                    name: 'nearest',
                    text: 'SELECT id, distance, payload FROM vcache_search($1, $2, $3)',
                    values: ['documents', vector, 3],
                });
                assert.deepEqual(rows, await plain(vector, 3));
            }
        });
        const { rows } = await client.query("SELECT generic_plans::int, custom_plans::int FROM pg_prepared_statements WHERE name = 'nearest'");
        assert.deepEqual(rows, [{ generic_plans: 15, custom_plans: 5 }]);
        await client.end();
    },

    async 'how long, and no payload'() {
        const vector = randomVector(3);
        const search = 'SELECT id, payload FROM vcache_search($1, $2, ttl => $3)';
        await counts({ misses: 1, hits: 1, bypasses: 1 }, async () => {
            for (const ttl of ['1 hour', '30 minutes', '0']) await pool.query(search, ['documents', vector, ttl]);
        });
        const { rows } = await pool.query(search, ['bare', vector, null]);
        assert.equal(rows.length, 10);
        assert.equal(rows[0].payload, null);
    },

    async 'filters'() {
        const { rows } = await pool.query(
            'SELECT id FROM vcache_search($1, $2, filter => $3)',
            ['documents', JSON.stringify(randomVector(7)), { n: 3 }],
        );
        assert.ok(rows.length > 0 && rows.every((row) => row.id % 7 === 3), rows);
    },

    async 'errors'() {
        await assert.rejects(pool.query(SEARCH, ['nothing', randomVector(1), 3]), (error) => {
            assert.equal(error.code, '42704');
            assert.match(error.hint, /"documents"/);
            return true;
        });
        await assert.rejects(pool.query(SEARCH, ['documents', [0.1, 0.2], 3]), (error) => {
            assert.equal(error.code, '22000');
            assert.equal(error.message, 'expected 8 dimensions, not 2');
            assert.ok(error.hint);
            return true;
        });
        await assert.rejects(pool.query(SEARCH, ['documents', [1, NaN, 3, 4, 5, 6, 7, 8], 3]), { code: '22000' });
        await assert.rejects(pool.query(SEARCH, ['documents', undefined, 3]), { code: '22004' });
    },

    async 'what to avoid'() {
        // The driver takes a typed array for bytes.
        await assert.rejects(pool.query(SEARCH, ['documents', new Float32Array(randomVector(1)), 3]));
        await assert.rejects(pool.query(SEARCH, ['documents', JSON.stringify(new Float32Array(randomVector(1))), 3]), { code: '22P02' });
    },
};

async function main() {
    for (const [name, test] of Object.entries(tests)) {
        console.log(name);
        await test();
    }
    await pool.end();
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
