//! Runs the simulators alone and prints where they listen: `cargo run --example simulate`.

use genvid_testkit::{Options, Ports, Profile, Simulators};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let profile = match std::env::args().nth(1).as_deref() {
        Some("instant") => Profile::instant(),
        Some("realistic") => Profile::realistic(),
        _ => Profile::demo(),
    };
    let options = Options {
        profile,
        ports: Ports {
            heygen: 9101,
            kling: 9102,
            elevenlabs: 9103,
            openai: 9104,
            stripe: 9105,
            resend: 9106,
        },
        ..Options::default()
    };
    let simulators = Simulators::start(options).await?;
    let ready = serde_json::json!({
        "simulators": simulators.urls(),
        "secrets": simulators.secrets(),
    });
    println!("{}", serde_json::to_string_pretty(&ready)?);
    tokio::signal::ctrl_c().await?;
    simulators.stop().await;
    Ok(())
}
