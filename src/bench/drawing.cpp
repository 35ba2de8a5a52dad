#include "bench/drawing.hpp"

#include <fmt/format.h>

namespace sherd::bench {

std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return safe;
}

std::string svg_text(double x, double y, const char* style, const std::string& words) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, style, escaped(words));
}

std::string svg_box(double x, double y, double w, double h, const char* colour) {
  return fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>\n", x, y, w,
      h, colour);
}

std::string svg_frame(double width, double height, const std::string& title,
                      const std::string& body) {
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
             "width=\"{0:.0f}\" height=\"{1:.0f}\" "
             "font-family=\"system-ui, Helvetica, Arial, sans-serif\">\n"
             "<title>{2}</title>\n",
             width, height, escaped(title)) +
         fmt::format("<rect width=\"{:.0f}\" height=\"{:.0f}\" rx=\"6\" fill=\"#ffffff\"/>\n",
                     width, height) +
         svg_text(20, 34, svg_style::heading, title) + body + "</svg>\n";
}

}  // namespace sherd::bench
