#pragma once
// What a fuzz target says of its parser. libfuzzer.cpp drives it, and replay.cpp in every build.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>

namespace sherd::fuzz {

/// The same draws from the same seed (splitmix64).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t draw() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  std::size_t below(std::size_t limit) { return static_cast<std::size_t>(draw() % limit); }
  bool one_in(std::size_t times) { return below(times) == 0; }

 private:
  std::uint64_t state_;
};

/// Changes some bytes; may make the text longer.
using ChangeBytes = std::function<void(std::string& text)>;

/// Gives the input to the parser. True: it was accepted, and all that is promised of what is
/// accepted holds. False: it was refused as documented. Anything else ends the process.
[[nodiscard]] bool accepts(const std::string& input);
/// A small input that is accepted.
[[nodiscard]] std::string seed(Random& random);
/// The input changed, with lengths and checksums that mostly hold: what they guard is reached.
[[nodiscard]] std::string changed(const std::string& input, Random& random,
                                  const ChangeBytes& change);

/// Ends the process unless `holds`: a finding.
inline void promised(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "promised, but not kept: %s\n", what);
  std::abort();
}

}  // namespace sherd::fuzz
