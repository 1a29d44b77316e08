//! What rich messages are made of.

use serde::Serialize;
use serde_json::{Map, Value};

/// Declares structs whose empty fields are not written, in camel case: so Dialogflow takes them, after which they are made.
macro_rules! parts {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_doc])* #[serde(skip_serializing_if = "Absent::is_absent")] pub $field: $kind,)*
        }
    )*};
}

parts! {
    /// A picture.
    Image {
        /// Where it is, https.
        image_uri: String,
        /// What it shows, for those who cannot see it.
        accessibility_text: String,
    }
    /// Buttons that answer with their own text.
    QuickReplies {
        /// What stands above them.
        title: String,
        /// Their texts.
        quick_replies: Vec<String>,
    }
    /// A card.
    Card {
        /// Title.
        title: String,
        /// Subtitle.
        subtitle: String,
        /// Its picture, https.
        image_uri: String,
        /// Its buttons.
        buttons: Vec<CardButton>,
    }
    /// A button of a [`Card`].
    CardButton {
        /// What stands on it.
        text: String,
        /// The text it sends, or the URL it opens.
        postback: String,
    }
    /// What a voice assistant says and shows.
    SimpleResponse {
        /// Spoken, as plain text; or `ssml`.
        text_to_speech: String,
        /// Spoken, as SSML.
        ssml: String,
        /// Shown.
        display_text: String,
    }
    /// A card with formatted text.
    BasicCard {
        /// Title.
        title: String,
        /// Subtitle.
        subtitle: String,
        /// Body; required where there is no picture.
        formatted_text: String,
        /// Picture.
        image: Option<Image>,
        /// Buttons.
        buttons: Vec<LinkButton>,
    }
    /// A button that opens a link.
    LinkButton {
        /// What stands on it; required.
        title: String,
        /// What it opens; required.
        open_uri_action: OpenUri,
    }
    /// A link to open.
    OpenUri {
        /// Its URI.
        uri: String,
    }
    /// A chip that opens a site.
    LinkOutSuggestion {
        /// Name of the site; required.
        destination_name: String,
        /// Its URI; required.
        uri: String,
    }
    /// A list to choose from.
    ListSelect {
        /// Title.
        title: String,
        /// Subtitle.
        subtitle: String,
        /// Items; at least one (2 to 30 are shown).
        items: Vec<SelectItem>,
    }
    /// A carousel to choose from.
    CarouselSelect {
        /// Items; at least one (2 to 10 are shown).
        items: Vec<SelectItem>,
    }
    /// An item to choose.
    SelectItem {
        /// What is sent when it is chosen; required.
        info: SelectItemInfo,
        /// Title; required.
        title: String,
        /// Description.
        description: String,
        /// Picture.
        image: Option<Image>,
    }
    /// What an item sends.
    SelectItemInfo {
        /// Its key; required.
        key: String,
        /// Other words by which the user may choose it.
        synonyms: Vec<String>,
    }
    /// A carousel of links.
    BrowseCarouselCard {
        /// Items; at least one.
        items: Vec<BrowseItem>,
        /// What stands around pictures of another shape.
        image_display_options: Option<ImageDisplay>,
    }
    /// An item of a [`BrowseCarouselCard`].
    BrowseItem {
        /// What it opens; required.
        open_uri_action: OpenUrl,
        /// Title; required.
        title: String,
        /// Description.
        description: String,
        /// Picture.
        image: Option<Image>,
        /// Footer.
        footer: String,
    }
    /// A page to open.
    OpenUrl {
        /// Its URL; required.
        url: String,
        /// What kind of AMP page it is, if one.
        url_type_hint: Option<UrlType>,
    }
    /// A table.
    TableCard {
        /// Title; required.
        title: String,
        /// Subtitle.
        subtitle: String,
        /// Picture.
        image: Option<Image>,
        /// Columns.
        column_properties: Vec<ColumnProperties>,
        /// Rows; three are shown.
        rows: Vec<TableCardRow>,
        /// Buttons.
        buttons: Vec<LinkButton>,
    }
    /// A column of a [`TableCard`].
    ColumnProperties {
        /// Header; required.
        header: String,
        /// Where its cells' texts stand.
        horizontal_alignment: Option<Alignment>,
    }
    /// A row of a [`TableCard`].
    TableCardRow {
        /// Cells.
        cells: Vec<TableCardCell>,
        /// Whether a line follows it.
        divider_after: bool,
    }
    /// A cell of a [`TableCard`].
    TableCardCell {
        /// Its text; required.
        text: String,
    }
    /// Audio to play in a player.
    MediaContent {
        /// What it is.
        media_type: Option<MediaType>,
        /// What to play; at least one.
        media_objects: Vec<MediaObject>,
    }
    /// One recording.
    MediaObject {
        /// Name; required.
        name: String,
        /// Description.
        description: String,
        /// Its picture.
        #[serde(flatten)]
        image: Option<MediaImage>,
        /// Where the audio is; required.
        content_url: String,
    }
    /// Speech; one of the two.
    Speech {
        /// Plain text.
        text: String,
        /// SSML.
        ssml: String,
    }
    /// RBM text with suggestions.
    RbmText {
        /// Text; required.
        text: String,
        /// Suggestions.
        rbm_suggestion: Vec<RbmSuggestion>,
    }
    /// A suggested answer.
    RbmReply {
        /// What stands on it.
        text: String,
        /// What it sends.
        postback_data: String,
    }
    /// A suggested action.
    RbmAction {
        /// What stands on it.
        text: String,
        /// What it sends.
        postback_data: String,
        /// What it does.
        #[serde(flatten)]
        does: Option<RbmDoes>,
    }
    /// A number to dial.
    RbmDial {
        /// In E.164; required.
        phone_number: String,
    }
    /// An RBM card.
    RbmStandaloneCard {
        /// Which way it lies.
        card_orientation: CardOrientation,
        /// On which side the picture of a horizontal card stands.
        thumbnail_image_alignment: ThumbnailAlignment,
        /// What is on it; required.
        card_content: RbmCardContent,
    }
    /// What is on an RBM card.
    RbmCardContent {
        /// Title.
        title: String,
        /// Description.
        description: String,
        /// Picture or film.
        media: Option<RbmMedia>,
        /// Suggestions.
        suggestions: Vec<RbmSuggestion>,
    }
    /// A picture or film.
    RbmMedia {
        /// Where it is; required.
        file_uri: String,
        /// Where its thumbnail is.
        thumbnail_uri: String,
        /// How tall it is shown.
        height: MediaHeight,
    }
    /// An RBM carousel.
    RbmCarouselCard {
        /// How wide each card is.
        card_width: CardWidth,
        /// Its cards, 2 to 10; required.
        card_contents: Vec<RbmCardContent>,
    }
    /// A tool for the client to run.
    ToolCall {
        /// Full name of the tool; required.
        tool: String,
        /// Which of its actions; required.
        action: String,
        /// Its input.
        input_parameters: Map<String, Value>,
    }
}

/// Declares what a field may be, as the proto names it.
macro_rules! choice {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $variant:ident,)* })*) => {$(
        $(#[$doc])*
        #[expect(missing_docs, reason = "each is what its name says")]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
        pub enum $name { $($(#[$attr])* $variant,)* }
    )*};
}

choice! {
    /// What stands around a picture whose shape is not the frame's.
    ImageDisplay { #[default] Gray, White, Cropped, BlurredBackground, }
    /// The kind of an AMP page.
    UrlType { #[default] AmpAction, AmpContent, }
    /// Where text stands in its cell.
    Alignment { #[default] Leading, Center, Trailing, }
    /// The kind of a recording.
    MediaType { #[default] Audio, }
    /// Which way an RBM card lies.
    CardOrientation { Horizontal, #[default] Vertical, }
    /// On which side of an RBM card its picture stands.
    ThumbnailAlignment { #[default] Left, Right, }
    /// How tall an RBM picture is shown.
    MediaHeight { Short, #[default] Medium, Tall, }
    /// How wide an RBM carousel's cards are.
    CardWidth { Small, #[default] Medium, }
}

/// The picture of a recording: one of the two.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum MediaImage {
    /// A large picture.
    LargeImage(Image),
    /// A small one.
    Icon(Image),
}

/// An RBM suggestion: one of the two.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RbmSuggestion {
    /// Answers with a text.
    Reply(RbmReply),
    /// Does something on the telephone.
    Action(RbmAction),
}

/// What an RBM action does: one of the three.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RbmDoes {
    /// Dials a number.
    Dial(RbmDial),
    /// Opens a link.
    OpenUrl(OpenUri),
    /// Shares the user's location.
    ShareLocation {},
}

/// Whether a field is left out.
trait Absent {
    fn is_absent(&self) -> bool;
}

impl Absent for String {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

impl Absent for bool {
    fn is_absent(&self) -> bool {
        !self
    }
}

impl<T> Absent for Vec<T> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

impl<T> Absent for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl Absent for Map<String, Value> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

/// Sub-messages that their parent requires are written even when empty, so that what they lack is seen.
macro_rules! always_written {
    ($($name:ident),*) => {$(impl Absent for $name { fn is_absent(&self) -> bool { false } })*};
}
always_written!(
    OpenUri,
    OpenUrl,
    SelectItemInfo,
    RbmCardContent,
    CardOrientation,
    ThumbnailAlignment,
    MediaHeight,
    CardWidth
);
