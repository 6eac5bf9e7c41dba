//! The text that a model was trained on.

use std::path::{Path, PathBuf};

use crate::run_dir::CONFIG;
use crate::{Config, Error, Parts, SplitText, TextModel, open_config};

/// The run directory that a checkpoint lies in.
pub fn run_of(checkpoint: &Path) -> PathBuf {
    checkpoint.parent().and_then(Path::parent).map_or("..".into(), Path::to_owned)
}

/// The text that a model was trained on, in its symbols, and the config that says where it is: the
/// `config.toml` of the run that `checkpoint`, the model's file, lies in, with overrides.
///
/// # Errors
/// If the checkpoint lies in no run directory, or its config says nothing of use; if the text is not
/// there, or another one.
pub fn own_text(
    model: &TextModel,
    checkpoint: &Path,
    overrides: &[String],
    parts: &Parts,
) -> Result<(Config, SplitText), Error> {
    let path = run_of(checkpoint).join(CONFIG);
    if !path.exists() {
        return Err(Error::WrongText {
            place: checkpoint.display().to_string(),
            message: "it lies in no run directory, whose config.toml would name its text".into(),
            help: "give a text with --text FILE".into(),
        });
    }
    let config = Config::parse(&open_config(&path, overrides)?, parts)?;
    let text = SplitText::read(&config, Some(model.new_tokenizer()))?;
    if text.digest()? != model.text_digest() {
        return Err(Error::WrongText {
            place: config.text_place(),
            message: format!("not the text of {}", checkpoint.display()),
            help: "put the old text back where the run's config.toml says, or give a text with --text FILE"
                .into(),
        });
    }
    Ok((config, text))
}
