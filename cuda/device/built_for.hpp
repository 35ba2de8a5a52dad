#pragma once
// Whether compiled code runs on a card, without asking the card to try.
#include <algorithm>
#include <cstddef>
#include <string_view>

namespace sherd::cuda {

/// May code of `built`, such as "sm_90a, sm_100", run on compute capability `capability`, such as
/// 90? What cannot be read may.
///
/// Plain numbers have code that later cards translate; a letter is for its own cards alone.
[[nodiscard]] constexpr bool is_built_for(std::string_view built, int capability) {
  constexpr std::string_view prefix = "sm_";
  while (!built.empty()) {
    const std::size_t end = std::min(built.find(", "), built.size());
    std::string_view one = built.substr(0, end);
    built.remove_prefix(std::min(end + 2, built.size()));
    if (one.substr(0, prefix.size()) == prefix) one.remove_prefix(prefix.size());
    int number = 0;
    std::size_t digits = 0;
    for (; digits < one.size() && one[digits] >= '0' && one[digits] <= '9'; ++digits)
      number = number * 10 + (one[digits] - '0');
    if (digits == 0) return true;
    const bool own = digits < one.size() && one[digits] == 'a';
    const bool real = one.find("-real") != std::string_view::npos;
    if (own ? capability == number
            : capability >= number && (!real || capability / 10 == number / 10))
      return true;
  }
  return false;
}

}  // namespace sherd::cuda
