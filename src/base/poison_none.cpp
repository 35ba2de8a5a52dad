#include "sherd/base/poison.hpp"

namespace sherd {

void poison(std::span<const std::byte>) noexcept {}
void unpoison(std::span<const std::byte>) noexcept {}
void touch(std::span<const std::byte>) {}
bool poison_works() noexcept { return false; }

}  // namespace sherd
