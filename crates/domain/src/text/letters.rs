//! Letters in their plain form, for whoever looks for words in a text of somebody who may not want them found: without
//! fancy forms, accents and what nobody sees, and Latin where another script has a letter that looks the same.

/// The letter, digit or sign of ASCII of which this is a fancy form.
pub(crate) fn plain(character: char) -> char {
    let code = u32::from(character);
    let nth = |first: char, from: u32| char::from_u32(u32::from(first) + code - from).unwrap_or(character);
    match code {
        // Full-width.
        0xFF01..=0xFF5E => nth('!', 0xFF01),
        // In brackets, in circles, in squares.
        0x249C..=0x24B5 => nth('a', 0x249C),
        0x24B6..=0x24CF => nth('a', 0x24B6),
        0x24D0..=0x24E9 => nth('a', 0x24D0),
        0x1F110..=0x1F129 => nth('a', 0x1F110),
        0x1F130..=0x1F149 => nth('a', 0x1F130),
        0x1F150..=0x1F169 => nth('a', 0x1F150),
        0x1F170..=0x1F189 => nth('a', 0x1F170),
        // Mathematical alphabets, each of 52 letters, and digits.
        0x1D400..=0x1D6A3 => char::from_u32(u32::from('a') + (code - 0x1D400) % 26).unwrap_or(character),
        0x1D7CE..=0x1D7FF => char::from_u32(u32::from('0') + (code - 0x1D7CE) % 10).unwrap_or(character),
        _ => character,
    }
}

/// Whether nobody sees it, or it only changes the letter before: combining marks, zero-width and directional
/// characters, selectors and tags; and apostrophes, which stand inside words.
pub(crate) fn is_nothing(character: char) -> bool {
    matches!(character,
        '\'' | '’' | '‘' | '‛' | '`' | '´' | 'ʼ' | 'ʹ' | '′'
        | '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
        | '\u{FEFF}' | '\u{FFA0}' | '\u{300}'..='\u{36F}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}'
        | '\u{20D0}'..='\u{20FF}' | '\u{FE20}'..='\u{FE2F}' | '\u{E0000}'..='\u{E0FFF}')
}

/// A small Latin letter without what is above, below or through it.
pub(crate) const fn without_accent(character: char) -> Option<&'static str> {
    Some(match character {
        'à'..='å' | 'ā' | 'ă' | 'ą' | 'ǎ' | 'ả' | 'ạ' => "a",
        'æ' => "ae",
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => "c",
        'ð' | 'ď' | 'đ' => "d",
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' | 'ẽ' | 'ẹ' => "e",
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => "g",
        'ĥ' | 'ħ' => "h",
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' => "i",
        'ĵ' => "j",
        'ķ' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ŀ' | 'ł' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' | 'ọ' => "o",
        'œ' => "oe",
        'ŕ' | 'ŗ' | 'ř' => "r",
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' | 'ſ' => "s",
        'ß' => "ss",
        'ţ' | 'ť' | 'ŧ' | 'ț' => "t",
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => "u",
        'ŵ' => "w",
        'ý' | 'ÿ' | 'ŷ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        _ => return None,
    })
}

/// The Latin letter or the sign of ASCII that this looks like, in the forms that readers cannot tell apart: capitals and
/// small letters are told apart, since `В` looks like a `B` and `в` like nothing in Latin. Source: Unicode Technical Standard
/// 39 (security mechanisms), confusables, the letters of Cyrillic, Greek and Armenian among them.
pub(crate) const fn look_alike(character: char) -> Option<char> {
    Some(match character {
        'А' | 'Α' => 'A',
        'В' | 'Β' => 'B',
        'С' | 'Ϲ' => 'C',
        'Е' | 'Ε' => 'E',
        'Ԍ' => 'G',
        'Н' | 'Η' => 'H',
        'І' | 'Ι' | 'Ӏ' => 'I',
        'Ј' => 'J',
        'К' | 'Κ' => 'K',
        'М' | 'Μ' => 'M',
        'Ν' => 'N',
        'О' | 'Ο' | 'Օ' => 'O',
        'Р' | 'Ρ' => 'P',
        'Ѕ' | 'Տ' => 'S',
        'Т' | 'Τ' => 'T',
        'Ս' => 'U',
        'Ԝ' => 'W',
        'Х' | 'Χ' => 'X',
        'Ү' | 'Υ' => 'Y',
        'Ζ' => 'Z',
        'а' | 'α' | 'ɑ' => 'a',
        'с' | 'ϲ' => 'c',
        'ԁ' => 'd',
        'е' | 'ҽ' => 'e',
        'ɡ' | 'ց' => 'g',
        'һ' | 'հ' => 'h',
        'і' | 'ι' | 'ɩ' => 'i',
        'ј' | 'ϳ' => 'j',
        'к' | 'κ' => 'k',
        'ӏ' | 'ǀ' => 'l',
        'ո' => 'n',
        'о' | 'ο' | 'օ' | 'σ' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' => 'q',
        'ѕ' => 's',
        'ս' | 'υ' => 'u',
        'ν' | 'ѵ' => 'v',
        'ԝ' | 'ѡ' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'ү' | 'γ' => 'y',
        // Dots and slashes that programs take for those of an address (Unicode Technical Standard 46 §2.3), or that look it.
        '。' | '｡' | '․' | '‧' => '.',
        '⁄' | '∕' | '⧸' => '/',
        '‐' | '‑' | '‒' | '–' | '−' => '-',
        _ => return None,
    })
}
