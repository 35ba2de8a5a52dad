#include <sanitizer/asan_interface.h>

#include "sherd/base/poison.hpp"

namespace sherd {

void poison(std::span<const std::byte> bytes) noexcept {
  __asan_poison_memory_region(bytes.data(), bytes.size());
}
void unpoison(std::span<const std::byte> bytes) noexcept {
  __asan_unpoison_memory_region(bytes.data(), bytes.size());
}
void touch(std::span<const std::byte> bytes) {
  void* bad = __asan_region_is_poisoned(const_cast<std::byte*>(bytes.data()), bytes.size());
  if (bad != nullptr)
    __asan_report_error(__builtin_return_address(0), __builtin_frame_address(0), nullptr, bad, 0,
                        1);
}
bool poison_works() noexcept { return true; }

}  // namespace sherd
