//! The corpus: what PostgreSQL's own catalogs say in words, and the table `docs` that holds it.

use postgres::Client;
use postgres::binary_copy::BinaryCopyInWriter;
use postgres::types::Type;

use crate::database::{self, Vector};
use crate::embed::Embedder;
use crate::failure::{Failure, Outcome};
use crate::print::{self, Progress};

/// A text and what it describes.
#[derive(Debug)]
pub struct Text {
    pub id: i64,
    /// `function`, `setting`, `collation`, …
    pub kind: String,
    /// A function's signature, a setting's name, …
    pub name: String,
    pub body: String,
    /// What the vector is made of: all three, so that "which setting …" finds settings, and overloads have vectors of their own.
    pub embedded: String,
}

/// Everything built in (objects of extensions have OIDs from 16384 on, their settings a dot in the name) that a person could ask about.
/// Left out are descriptions that hundreds of support functions share, such as "I/O"; the operators that they implement are there.
const CATALOG_TEXTS: &str = r#"
WITH described (classoid, objoid, objsubid, description) AS (
    SELECT classoid, objoid, objsubid, description FROM pg_description
    UNION ALL
    SELECT classoid, objoid, 0, description FROM pg_shdescription
),
texts (kind, name, body) AS (
    SELECT object.type, replace(object.identity, 'pg_catalog.', ''), description
      FROM described, pg_identify_object(classoid, objoid, objsubid) AS object
     WHERE objoid < 16384
       AND description !~ '^(I/O|implementation of |\(internal\)|hash$|less-equal-greater$|aggregate (final|transition|combine))'
    UNION ALL
    SELECT 'setting', name, concat_ws(' ', short_desc, extra_desc) FROM pg_settings WHERE name !~ '\.'
    UNION ALL
    SELECT 'SQL feature', concat_ws('-', feature_id, nullif(sub_feature_id, '')),
           concat_ws(': ', feature_name, nullif(sub_feature_name, ''))
      FROM information_schema.sql_features
    UNION ALL
    SELECT 'available extension', name, comment FROM pg_available_extensions WHERE comment IS NOT NULL
    UNION ALL
    SELECT CASE relkind WHEN 'v' THEN 'view' ELSE 'catalog' END, pg_class.oid::regclass::text,
           (SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0)
      FROM pg_class
     WHERE relkind IN ('r', 'v') AND relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
)
SELECT row_number() OVER (ORDER BY kind COLLATE "C", name COLLATE "C", body COLLATE "C"), kind::text, name::text, body::text
  FROM texts WHERE body <> ''
 ORDER BY 1"#;

/// Reads the texts from the catalogs of the database.
pub fn read(client: &mut Client) -> Outcome<Vec<Text>> {
    let texts = client
        .query(CATALOG_TEXTS, &[])?
        .iter()
        .map(|row| {
            let (kind, name, body): (String, String, String) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            let embedded = format!("{kind} {name} {body}");
            Ok(Text { id: row.try_get(0)?, kind, name, body, embedded })
        })
        .collect::<Outcome<Vec<_>>>()?;
    if texts.is_empty() {
        return Err(Failure::new("the catalogs of this server hold no descriptions"));
    }
    Ok(texts)
}

/// Says what there is: how many texts of which kind, the most frequent kinds first.
pub fn print_kinds(texts: &[Text]) {
    let mut kinds: Vec<(&str, u64)> = Vec::new();
    // Sorted by kind already.
    for text in texts {
        match kinds.last_mut() {
            Some((kind, count)) if *kind == text.kind => *count += 1,
            _ => kinds.push((&text.kind, 1)),
        }
    }
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let named = kinds.iter().take(5).map(|(kind, count)| format!("{} {kind}s", print::thousands(*count)));
    println!("  {} texts: {}, …", print::thousands(texts.len() as u64), named.collect::<Vec<_>>().join(", "));
}

/// Makes the table `docs` and copies the texts and their vectors into it.
pub fn load(client: &mut Client, texts: &[Text], embedder: &Embedder) -> Outcome<()> {
    let mut progress = Progress::new("table docs");
    let mut transaction = client.transaction()?;
    database::replace_table(
        &mut transaction,
        "docs",
        "id bigint PRIMARY KEY, kind text NOT NULL, name text NOT NULL, body text NOT NULL, embedding ruvector(384) NOT NULL",
    )?;
    let ruvector = transaction.prepare("SELECT $1::ruvector")?;
    let ruvector =
        ruvector.params().first().cloned().ok_or_else(|| Failure::new("the server knows no type ruvector"))?;

    let types = [Type::INT8, Type::TEXT, Type::TEXT, Type::TEXT, ruvector];
    let mut writer = BinaryCopyInWriter::new(transaction.copy_in("COPY docs FROM STDIN (FORMAT binary)")?, &types);
    for (count, text) in texts.iter().enumerate() {
        let vector = embedder
            .embed(&text.embedded)
            .ok_or_else(|| Failure::new(format!("the text of {} {} has no words", text.kind, text.name)))?;
        writer.write(&[&text.id, &text.kind, &text.name, &text.body, &Vector(vector)])?;
        progress.show(&format!("{} of {} rows", print::thousands(count as u64), print::thousands(texts.len() as u64)));
    }
    let rows = writer.finish()?;
    transaction.commit()?;
    client.batch_execute("ANALYZE docs")?;
    progress.finish(&format!("{} rows with vectors of 384 dimensions", print::thousands(rows)));
    Ok(())
}

/// Builds RuVector's HNSW index on the vectors.
pub fn index(client: &mut Client) -> Outcome<()> {
    let mut progress = Progress::new("CREATE INDEX … USING hnsw (embedding ruvector_cosine_ops)");
    progress.while_running(|| {
        client.batch_execute("CREATE INDEX docs_embedding ON docs USING hnsw (embedding ruvector_cosine_ops)")
    })?;
    let size: String =
        client.query_one("SELECT pg_size_pretty(pg_relation_size('docs_embedding'))", &[])?.try_get(0)?;
    progress.finish(&size);
    Ok(())
}
