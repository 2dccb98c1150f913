//! What is measured every few minutes.

use futures_util::future::BoxFuture;

use super::failure::Failure;
use super::session::{Session, args, read};
use super::text;
use super::work::{Job, Work};
use crate::clock::Timestamp;
use crate::store::Sample;

/// Keeps what was measured, and no longer what is too old.
pub(super) struct Add(pub(super) Sample);

impl Job for Add {
    type Done = ();

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let (gateways, figures): (Vec<_>, Vec<_>) = self.0.rows().into_iter().unzip();
            let written = |texts: Vec<String>| -> Vec<String> {
                texts.iter().map(|text| text::written(text).into_owned()).collect()
            };
            let sql = "INSERT INTO sample (at, gateway, figures) SELECT $1, * FROM unnest($2::text[], $3::text[])
                       ON CONFLICT DO NOTHING";
            let arguments = args![INT8 self.0.at.0, TEXT_ARRAY written(gateways), TEXT_ARRAY written(figures)];
            work.session.query(sql, arguments).await?;
            let sql = "DELETE FROM sample WHERE at < $1";
            work.session.query(sql, args![INT8 self.0.kept_since()]).await.map(|_| ())
        })
    }
}

/// What was measured at a moment or later.
pub(super) async fn list(session: &mut Session, since: Timestamp) -> Result<Vec<Sample>, Failure> {
    let sql = "SELECT at, gateway, figures FROM sample WHERE at >= $1 ORDER BY at, gateway";
    let rows = session.query(sql, args![INT8 since.0]).await?;
    Ok(Sample::of_rows(read(&rows, |cells| Ok((cells.number()?, cells.text()?, cells.text()?)))?))
}
