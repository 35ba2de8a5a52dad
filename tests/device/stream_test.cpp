#include "sherd/device/stream.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <type_traits>

using namespace sherd;

static_assert(std::is_constructible_v<StreamRef, device::Stream&>);
static_assert(!std::is_constructible_v<StreamRef, int>);
static_assert(!std::is_constructible_v<StreamRef, std::nullptr_t>);
static_assert(!std::is_default_constructible_v<StreamRef>);
static_assert(!std::is_copy_constructible_v<device::Stream>);

TEST_CASE("A reference runs work on the workers of its stream") {
  device::Stream stream(2);
  const StreamRef ref(stream);
  CHECK(ref.kind() == DeviceKind::cpu);
  CHECK(&ref.workers() == &stream.workers());
  std::vector<int> visits(10);
  ref.workers().run(10,
                    [&](std::int64_t index, int) { ++visits[static_cast<std::size_t>(index)]; });
  CHECK(visits == std::vector<int>(10, 1));
}
