#pragma once
// 128 bits over fp32 master weights, by name and position: the same at any world, stage and tier.
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "sherd/base/philox.hpp"
#include "sherd/checkpoint/manifest.hpp"

namespace sherd::checkpoint {

/// Adds elements [first, first + values.size()) of a parameter; sums of parts are sums of the
/// whole.
inline void add_weights(Digest& to, std::string_view name, std::uint64_t first,
                        std::span<const float> values) {
  const std::uint64_t named = mix(hash_name(name));
  Digest part{};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint64_t one =
        mix(named ^ mix((first + i) << 32 ^ std::bit_cast<std::uint32_t>(values[i])));
    part[0] += one;
    part[1] += mix(one);
  }
  add(to, part);
}

/// As the `end` event prints it.
[[nodiscard]] std::string hash_text(const Digest& sum);

}  // namespace sherd::checkpoint
