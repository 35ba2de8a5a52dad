#pragma once
// Pieces of the SVG pictures.
#include <string>

namespace sherd::bench {

/// With what XML reserves written as entities; other control characters become spaces.
[[nodiscard]] std::string escaped(const std::string& text);

[[nodiscard]] std::string svg_text(double x, double y, const char* style, const std::string& words);
[[nodiscard]] std::string svg_box(double x, double y, double w, double h, const char* colour);
/// A picture of `body` on white, with a heading.
[[nodiscard]] std::string svg_frame(double width, double height, const std::string& title,
                                    const std::string& body);

namespace svg_style {
inline constexpr const char* small = "fill=\"#57606a\" font-size=\"12\"";
inline constexpr const char* inside = "fill=\"#ffffff\" font-size=\"12\" text-anchor=\"middle\"";
inline constexpr const char* at_end = "fill=\"#24292f\" font-size=\"14\" font-weight=\"600\"";
inline constexpr const char* heading = "fill=\"#24292f\" font-size=\"17\" font-weight=\"600\"";
inline constexpr const char* before = "fill=\"#24292f\" font-size=\"14\" text-anchor=\"end\"";
}  // namespace svg_style

}  // namespace sherd::bench
