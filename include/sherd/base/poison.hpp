#pragma once
// Marks memory as out of bounds for the address sanitizer; without it these do nothing.
#include <cstddef>
#include <span>
#include <string_view>

namespace sherd {

void poison(std::span<const std::byte> bytes) noexcept;
void unpoison(std::span<const std::byte> bytes) noexcept;

/// Aborts through the sanitizer if any byte is poisoned: for operands handed to libraries that the
/// sanitizer cannot see into.
void touch(std::span<const std::byte> bytes);

[[nodiscard]] bool poison_works() noexcept;

}  // namespace sherd
