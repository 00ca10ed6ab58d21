//! `frazil pipeline`.

use crate::cli::PipelineCommand;
use crate::output::{self, Format};
use crate::remote::Remote;
use crate::remote::http::Http;

pub(super) async fn run(command: PipelineCommand, remote: &Remote) -> anyhow::Result<()> {
    let http = Http::new(remote)?;
    match command {
        PipelineCommand::List(args) => list(&http, args.output).await,
        PipelineCommand::Delete { pipelines } => {
            for name in pipelines {
                http.delete_pipeline(&name).await?;
                println!("{name}: deleted");
            }
            Ok(())
        }
    }
}

async fn list(http: &Http, format: Format) -> anyhow::Result<()> {
    if matches!(format, Format::Json | Format::Ndjson) {
        println!("{}", http.pipelines().await?["pipelines"]);
        return Ok(());
    }
    let (columns, rows) = super::status::pipelines(&http.status().await?);
    Ok(output::print(format, columns, rows)?)
}
