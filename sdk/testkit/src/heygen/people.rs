//! The simulated catalogue: who can speak, and with which voice.

/// One look of an avatar.
pub(super) struct Look {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) group: &'static str,
    pub(super) kind: &'static str,
    pub(super) gender: &'static str,
    /// Default voice.
    pub(super) voice: &'static str,
    pub(super) orientation: &'static str,
    pub(super) owner: &'static str,
}

impl Look {
    /// Chooses the colours of the drawn figure.
    pub(super) fn seed(&self) -> u64 {
        self.id.bytes().fold(17, |seed: u64, byte| {
            seed.wrapping_mul(131).wrapping_add(byte.into())
        })
    }
}

pub(super) struct Voice {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) language: &'static str,
    pub(super) gender: &'static str,
    pub(super) kind: &'static str,
}

const fn look(
    id: &'static str,
    name: &'static str,
    group: &'static str,
    kind: &'static str,
    gender: &'static str,
    voice: &'static str,
    orientation: &'static str,
) -> Look {
    Look {
        id,
        name,
        group,
        kind,
        gender,
        voice,
        orientation,
        owner: "public",
    }
}

const EMMA: &str = "2d5b0e6cf36f460aa7fc47e3eee4ba54";
const BRIAN: &str = "d7bbcdd6964c47bdaae26decade4a933";
const XIAOYI: &str = "0ebe70d83b2349529e56492c002c9572";

pub(super) static LOOKS: [Look; 12] = [
    look(
        "anna_studio_front_portrait",
        "Anna in the studio",
        "grp_anna",
        "studio_avatar",
        "female",
        EMMA,
        "portrait",
    ),
    look(
        "anna_office_front_landscape",
        "Anna in the office",
        "grp_anna",
        "studio_avatar",
        "female",
        EMMA,
        "landscape",
    ),
    look(
        "ben_casual_front_portrait",
        "Ben, casual",
        "grp_ben",
        "studio_avatar",
        "male",
        BRIAN,
        "portrait",
    ),
    look(
        "ben_suit_side_landscape",
        "Ben in a suit",
        "grp_ben",
        "studio_avatar",
        "male",
        BRIAN,
        "landscape",
    ),
    look(
        "chen_home_front_portrait",
        "Chen at home",
        "grp_chen",
        "digital_twin",
        "female",
        XIAOYI,
        "portrait",
    ),
    look(
        "chen_kitchen_front_square",
        "Chen in the kitchen",
        "grp_chen",
        "digital_twin",
        "female",
        XIAOYI,
        "square",
    ),
    look(
        "dora_photo_portrait",
        "Dora, photo",
        "grp_dora",
        "photo_avatar",
        "female",
        EMMA,
        "portrait",
    ),
    look(
        "dora_garden_photo_square",
        "Dora in the garden, photo",
        "grp_dora",
        "photo_avatar",
        "female",
        EMMA,
        "square",
    ),
    look(
        "emil_lab_front_portrait",
        "Emil in the laboratory",
        "grp_emil",
        "studio_avatar",
        "male",
        BRIAN,
        "portrait",
    ),
    look(
        "emil_street_front_landscape",
        "Emil in the street",
        "grp_emil",
        "studio_avatar",
        "male",
        BRIAN,
        "landscape",
    ),
    look(
        "fatima_shop_front_portrait",
        "Fatima in the shop",
        "grp_fatima",
        "studio_avatar",
        "female",
        EMMA,
        "portrait",
    ),
    Look {
        owner: "private",
        ..look(
            "own_founder_portrait",
            "Our founder",
            "grp_own",
            "digital_twin",
            "male",
            BRIAN,
            "portrait",
        )
    },
];

const fn voice(
    id: &'static str,
    name: &'static str,
    language: &'static str,
    gender: &'static str,
) -> Voice {
    Voice {
        id,
        name,
        language,
        gender,
        kind: "public",
    }
}

pub(super) static VOICES: [Voice; 12] = [
    voice(EMMA, "Emma - Natural", "English", "female"),
    voice(BRIAN, "Brian - Professional", "English", "male"),
    voice(
        "001cc6d54eae4ca2b5fb16ca8e8eb9bb",
        "Olivia - Cheerful",
        "English",
        "female",
    ),
    voice(
        "26b2064088674c80b1e5fc5ab1a068eb",
        "George - Calm",
        "English",
        "male",
    ),
    voice(XIAOYI, "Xiaoyi - Natural", "Chinese", "female"),
    voice(
        "3e7d3b1ab5a4443bb8ef5a4fa4c9f4a3",
        "Yunxi - Lively",
        "Chinese",
        "male",
    ),
    voice(
        "7f2a3d94b6ad4f5d8a8c1d7e0c5b2f11",
        "Klara - Freundlich",
        "German",
        "female",
    ),
    voice(
        "a1c6f6c07c1a4a59b4e6f1b9f8d4e722",
        "Jules - Calme",
        "French",
        "male",
    ),
    voice(
        "b8f4e2d11e9c4d3f9a7b6c5d4e3f2a33",
        "Lucía - Cercana",
        "Spanish",
        "female",
    ),
    voice(
        "c9a5f3e22fad5e4fab8c7d6e5f4a3b44",
        "Haruka - Soft",
        "Japanese",
        "female",
    ),
    voice(
        "d0b6a4f33abe6f5abc9d8e7f6a5b4c55",
        "Marco - Warm",
        "Italian",
        "male",
    ),
    Voice {
        kind: "private",
        ..voice(
            "e1c7b5a44bcf7a6bcdae9f8a7b6c5d66",
            "Our founder",
            "English",
            "male",
        )
    },
];

pub(super) fn find_look(id: &str) -> Option<&'static Look> {
    LOOKS.iter().find(|look| look.id == id)
}

pub(super) fn find_voice(id: &str) -> Option<&'static Voice> {
    VOICES.iter().find(|voice| voice.id == id)
}
