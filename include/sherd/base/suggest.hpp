#pragma once
// What somebody probably meant.
#include <span>
#include <string>
#include <string_view>

namespace sherd {

/// "; did you mean X?" for the nearest candidate (edit distance with swaps, else the first that
/// `word` is a part of); empty when none is near.
[[nodiscard]] std::string did_you_mean(std::string_view word,
                                       std::span<const std::string> candidates);

/// Insertions, deletions, changes and swaps of neighbours that turn `a` into `b`, ignoring case.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace sherd
