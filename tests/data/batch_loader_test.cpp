#include "sherd/data/batch_loader.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "data/tokens_case.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/data/table.hpp"

namespace sherd::data {
namespace {

using test::Row;

View view(Row& row, Shape shape) {
  return {reinterpret_cast<std::byte*>(row.data()), shape, DType::i32};
}

TEST_CASE("A step's micro-batches hold the samples the sampler names, whatever their size") {
  const test::TempFolder folder;
  const auto source =
      open_tokens({folder.write("a", std::string("abcdefghijklmnopqrstuvwxyz"))}, {2, 256});
  const Sampler sampler(source->samples(), 6, 3);
  for (const std::int64_t micro : {1, 2, 3, 6}) {
    const BatchLoader loader(*source, sampler, micro);
    for (std::uint64_t step = 0; step < 2; ++step) {
      for (std::uint64_t slot = 0; slot < 6; ++slot) {
        Row inputs(static_cast<std::size_t>(micro) * 2), labels(inputs);
        const auto size = static_cast<std::uint64_t>(micro);
        const Shape shape{micro, 2};
        CHECK(loader.fill(step, slot / size, view(inputs, shape), view(labels, shape)) == micro);
        const test::Sample want = test::read_sample(*source, *sampler.at(step, slot));
        const auto at = static_cast<std::ptrdiff_t>(slot % size * 2);
        CHECK(Row(inputs.begin() + at, inputs.begin() + at + 2) == want.inputs);
        CHECK(Row(labels.begin() + at, labels.begin() + at + 2) == want.labels);
      }
    }
  }
}

TEST_CASE("Rows past the end of a short batch are zero and do not count") {
  const test::TempFolder folder;
  const auto source = open_tokens({folder.write("a", "abcdefg")}, {2, 256});  // 3 samples
  const BatchLoader loader(*source, Sampler(3, 8, 0, false), 4);
  const Shape shape{4, 2};
  Row inputs(8, 77), labels(8, 77);
  CHECK(loader.fill(0, 0, view(inputs, shape), view(labels, shape)) == 3);
  CHECK(inputs == Row{'a', 'b', 'c', 'd', 'e', 'f', 0, 0});
  CHECK(labels == Row{'b', 'c', 'd', 'e', 'f', 'g', -100, -100});
  CHECK(loader.fill(5, 1, view(inputs, shape), view(labels, shape)) == 0);
  CHECK(inputs == Row(8, 0));
  CHECK(labels == Row(8, -100));
}

TEST_CASE("Absent rows of a table have labels that are not a number") {
  const test::TempFolder folder;
  const auto source = csv(folder.write("a.csv", "1,2,3\n"), 1);
  const BatchLoader loader(*source, Sampler(1, 2, 0), 2);
  std::vector<float> inputs(4, 7), labels(2, 7);
  CHECK(loader.fill(0, 0, {reinterpret_cast<std::byte*>(inputs.data()), {2, 2}, DType::f32},
                    {reinterpret_cast<std::byte*>(labels.data()), {2, 1}, DType::f32}) == 1);
  CHECK(inputs == std::vector<float>{1, 2, 0, 0});
  CHECK(labels[0] == 3);
  CHECK(std::isnan(labels[1]));
}

TEST_CASE("Views of another shape or type and leaves past the batch are refused") {
  const test::TempFolder folder;
  const auto source = open_tokens({folder.write("a", "abcdefg")}, {2, 256});
  const BatchLoader loader(*source, Sampler(3, 4, 0), 2);
  Row inputs(4), labels(4);
  const View good = view(inputs, {2, 2}), out = view(labels, {2, 2});
  CHECK_THROWS_AS((void)loader.fill(0, 0, good.reshaped({4, 1}), out), UsageError);
  CHECK_THROWS_AS((void)loader.fill(0, 0, good, {out.data, out.shape, DType::f32}), UsageError);
  CHECK_THROWS_AS((void)loader.fill(0, 0, good, {}), UsageError);
  CHECK_THROWS_AS((void)loader.fill(0, 2, good, out), UsageError);
}

}  // namespace
}  // namespace sherd::data
