"""The Gradio theme of the page: its colours, and system fonts, so that nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.themes.utils import colors, sizes

SEA = colors.Color(
    name="sea",
    c50="#eef7f6",
    c100="#d6ebe9",
    c200="#afd8d4",
    c300="#7fbfb9",
    c400="#4fa29b",
    c500="#2f857f",
    c600="#216b67",
    c700="#1c5653",
    c800="#194543",
    c900="#163937",
    c950="#0a2120",
)
STONE = colors.Color(
    name="stone",
    c50="#faf8f4",
    c100="#f3efe8",
    c200="#e6e0d5",
    c300="#d2c9ba",
    c400="#a79c8b",
    c500="#7b7164",
    c600="#5d554b",
    c700="#453f38",
    c800="#2c2824",
    c900="#1d1a18",
    c950="#131110",
)
SANS = (
    "ui-sans-serif",
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "Roboto",
    "Helvetica",
    "Arial",
    "sans-serif",
)
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

CSS = Path(__file__).with_name("style.css")


def theme() -> gr.themes.Base:
    """The theme, with a light and a dark variant."""
    base = gr.themes.Base(
        primary_hue=SEA,
        secondary_hue=SEA,
        neutral_hue=STONE,
        radius_size=sizes.radius_lg,
        font=SANS,
        font_mono=MONO,
    )
    return base.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color_subdued="*neutral_500",
        background_fill_primary="white",
        background_fill_primary_dark="*neutral_900",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_color="*neutral_200",
        block_border_color_dark="*neutral_800",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_shadow="0 1px 2px 0 rgb(60 50 40 / 0.05)",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="white",
        button_secondary_background_fill="white",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_background_fill_hover_dark="*neutral_700",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_700",
        button_border_width="1px",
        slider_color="*primary_500",
        input_background_fill="*neutral_50",
        input_background_fill_dark="*neutral_800",
    )
