#include "sherd/data/table.hpp"

#include <doctest/doctest.h>

#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::data {
namespace {

using test::contains;
using Row = std::vector<float>;

/// Inputs and labels of one row, in this order.
Row read_row(const Source& source, std::uint64_t sample) {
  const SampleShape shape = source.shape();
  Row inputs(static_cast<std::size_t>(shape.input_cols)),
      labels(static_cast<std::size_t>(shape.label_cols));
  source.read(sample,
              {reinterpret_cast<std::byte*>(inputs.data()), {1, shape.input_cols}, DType::f32},
              {reinterpret_cast<std::byte*>(labels.data()), {1, shape.label_cols}, DType::f32});
  inputs.insert(inputs.end(), labels.begin(), labels.end());
  return inputs;
}

std::unique_ptr<Source> open(const std::string& content, std::int64_t labels = 1) {
  const test::TempFolder folder;  // the open file outlives its name
  return csv(folder.write("t.csv", content), labels);
}

std::string refusal(const std::string& content, std::int64_t labels = 1) {
  return test::message_of<DataError>([&] { (void)open(content, labels); });
}

TEST_CASE("Rows give inputs and labels") {
  const auto source = open("1,2,3\n4.5,-6e2,+7\n", 2);
  CHECK(source->samples() == 2);
  CHECK(source->shape().input_cols == 1);
  CHECK(source->shape().label_cols == 2);
  CHECK(source->shape().input_type == DType::f32);
  CHECK(read_row(*source, 1) == Row{4.5f, -600, 7});
  CHECK(read_row(*source, 0) == Row{1, 2, 3});
}

TEST_CASE(
    "Header, byte order mark, blank lines, blanks, CRLF and a missing last newline are fine") {
  for (const char* content : {"a,b\n1,2\n3,4", "1,2\r\n3,4\r\n",
                              "\xEF\xBB\xBF"
                              "1,2\n\n 3 ,\t4 \n \n",
                              "\n\nx,y\n1,2\n3,4\n"}) {
    CAPTURE(content);
    const auto source = open(content);
    CHECK(source->samples() == 2);
    CHECK(read_row(*source, 0) == Row{1, 2});
    CHECK(read_row(*source, 1) == Row{3, 4});
  }
}

TEST_CASE("Rows far apart and of different length are found") {
  std::string content = "a,b\n";
  for (int i = 0; i < 100000; ++i)
    content += std::to_string(i) + "," + std::to_string(i % 97) + "\n";
  const auto source = open(content);
  REQUIRE(source->samples() == 100000);
  for (const std::uint64_t i :
       {std::uint64_t{0}, std::uint64_t{9}, std::uint64_t{31337}, std::uint64_t{99999}}) {
    CHECK(read_row(*source, i) == Row{static_cast<float>(i), static_cast<float>(i % 97)});
  }
}

TEST_CASE("Bad rows are refused with line and column") {
  CHECK(contains(refusal("a,b\n1,2\n3\n"), "t.csv: line 3: has 1 columns, need 2"));
  CHECK(contains(refusal("1,2\n3,4,5\n"), "line 2: has 3 columns"));
  CHECK(contains(refusal("1,2\n\n3,x\n"), "line 3: column 2: got 'x'"));
  CHECK(contains(refusal("1,2\n3,\n"), "line 2: column 2: got ''"));
  CHECK(contains(refusal("1,2\nnan,4\n"), "got 'nan'"));
  CHECK(contains(refusal("1,2\n3,inf\n"), "got 'inf'"));
  CHECK(contains(refusal("1,2\n3,1e39\n"), "got '1e39'"));
  CHECK(contains(refusal("1,2\n3,1e999\n"), "finite"));
  CHECK(contains(refusal("1,2\n3,4 5\n"), "got '4 5'"));
  CHECK(contains(refusal("1,2\n3,\"4\"\n"), "column 2"));
  CHECK(contains(refusal("a,b\nc,d\n"), "line 2"));
  CHECK(contains(refusal(std::string("1,2\n3,4\0\n", 9)), "line 2"));
}

TEST_CASE("Files without rows or with labels only are refused") {
  CHECK(contains(refusal(""), "no rows"));
  CHECK(contains(refusal("a,b\n"), "no rows"));
  CHECK(contains(refusal("1,2\n", 2), "need more than its 2 label columns"));
  CHECK_THROWS_AS((void)open("1,2\n", 0), UsageError);
}

TEST_CASE("A line without end is refused and not collected") {
  CHECK(contains(refusal("1,2\n" + std::string(3 * mib, '1')), "line 2: is above 1 MiB"));
}

TEST_CASE("A wrong sample is a broken precondition and the fingerprint follows the content") {
  const auto source = open("1,2\n");
  CHECK_THROWS_AS((void)read_row(*source, 1), UsageError);
  CHECK(source->fingerprint() == open("1,2\n")->fingerprint());
  CHECK(source->fingerprint() != open("1,3\n")->fingerprint());
}

}  // namespace
}  // namespace sherd::data
