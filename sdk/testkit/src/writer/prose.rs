//! Sentences.

use super::brief::{Brief, Language};

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// The product as it stands within a sentence.
fn product(brief: &Brief) -> String {
    let name = brief.product.trim();
    if name.is_empty() {
        return match brief.language {
            Language::English => "our new product".into(),
            Language::Chinese => "我们的新产品".into(),
        };
    }
    if brief.language == Language::English {
        for article in ["A ", "An ", "The ", "a ", "an "] {
            if let Some(rest) = name.strip_prefix(article) {
                return format!("the {rest}");
            }
        }
    }
    name.to_owned()
}

fn point(brief: &Brief, index: usize) -> String {
    let spare: [&str; 4] = match brief.language {
        Language::English => [
            "made to last, every single day",
            "simple to use from the first minute",
            "designed with care, down to the detail",
            "small enough to take anywhere",
        ],
        Language::Chinese => [
            "经久耐用，天天陪伴",
            "上手简单，即刻开用",
            "用心设计，处处讲究",
            "轻巧便携，随处可带",
        ],
    };
    match brief.points.get(index) {
        Some(point) => point.trim_end_matches(['.', '。']).to_owned(),
        None => spare[index % spare.len()].to_owned(),
    }
}

pub(super) fn title(brief: &Brief) -> String {
    let name = product(brief);
    match brief.language {
        Language::English => capital(name.trim_start_matches("the ")),
        Language::Chinese => name,
    }
}

pub(super) fn hook(brief: &Brief) -> String {
    match brief.language {
        Language::English => format!("What if your day got easier? Meet {}.", product(brief)),
        Language::Chinese => format!("想让每一天更轻松吗？来认识{}。", product(brief)),
    }
}

pub(super) fn call_to_action(brief: &Brief) -> String {
    match brief.language {
        Language::English => "Get yours today.".into(),
        Language::Chinese => "现在就来拥有它吧。".into(),
    }
}

pub(super) fn tag(brief: &Brief, index: usize) -> String {
    let words: Vec<&str> = brief
        .product
        .split_whitespace()
        .filter(|word| word.len() > 2)
        .collect();
    match (brief.language, words.get(index)) {
        (Language::English, Some(word)) => word.to_lowercase(),
        (Language::English, None) => ["new", "everyday", "design"][index % 3].into(),
        (Language::Chinese, _) => ["新品", "好物", "推荐"][index % 3].into(),
    }
}

/// What is seen in scene `index` of `count`.
pub(super) fn visual(brief: &Brief, index: usize, count: usize) -> String {
    let name = product(brief);
    let last = index + 1 == count;
    match (brief.language, index, last) {
        (Language::English, 0, _) => format!("Slow dolly-in on {name}, soft morning light."),
        (Language::English, _, true) => {
            format!(
                "{} centred on a clean background, logo fades in.",
                capital(&name)
            )
        }
        (Language::English, _, _) => {
            format!(
                "Close-up of {name} in use, showing: {}.",
                point(brief, index - 1)
            )
        }
        (Language::Chinese, 0, _) => format!("清晨柔光中，镜头缓缓推近{name}。"),
        (Language::Chinese, _, true) => format!("干净的背景上，{name}居中，标志淡入。"),
        (Language::Chinese, _, _) => format!("{name}使用特写：{}。", point(brief, index - 1)),
    }
}

/// What is said in scene `index` of `count`.
pub(super) fn line(brief: &Brief, index: usize, count: usize) -> String {
    if index == 0 {
        return hook(brief);
    }
    if index + 1 == count {
        return call_to_action(brief);
    }
    let said = point(brief, index - 1);
    match (brief.language, index % 3) {
        (Language::English, 1) => format!("Here is why people love it: {said}."),
        (Language::English, 2) => format!("And there is more: {said}."),
        (Language::English, _) => format!("{}.", capital(&said)),
        (Language::Chinese, 1) => format!("大家喜欢它的理由：{said}。"),
        (Language::Chinese, 2) => format!("还不止这些：{said}。"),
        (Language::Chinese, _) => format!("{said}。"),
    }
}

/// How many scenes fit the time.
pub(super) fn scenes(brief: &Brief) -> usize {
    match brief.seconds {
        0..=7 => 2,
        8..=14 => 3,
        15..=29 => 4,
        _ => 5,
    }
}

/// Everything that is said, within so many seconds of speech: at least the hook.
pub(super) fn narration(brief: &Brief, seconds: u32) -> String {
    let count = scenes(brief);
    let mut lines: Vec<String> = Vec::new();
    let glue = match brief.language {
        Language::English => " ",
        Language::Chinese => "",
    };
    for index in 0..count {
        let next = line(brief, index, count);
        let mut longer = lines.join(glue);
        longer.push_str(&next);
        let fits = crate::media::Timeline::of(&longer, 1.0).seconds <= f64::from(seconds);
        if index == 0 || fits {
            lines.push(next);
        }
    }
    lines.join(glue)
}

/// A text for a field that nobody here knows.
pub(super) fn other(brief: &Brief, name: &str) -> String {
    let words = name.replace(['_', '-'], " ");
    match brief.language {
        Language::English => format!("{} of {}.", capital(words.trim()), product(brief)),
        Language::Chinese => format!("{}的{}。", product(brief), words.trim()),
    }
}
