#include "sherd/kernels/exact_sum.hpp"

#include "sherd/kernels/exact_sum_math.hpp"

namespace sherd::kernels {

double ExactSum::value() const { return exact_value(*this); }

}  // namespace sherd::kernels
